"""A server that is asked to end does so at once, says what goes on later, and leaves a whole library."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from socket import create_server

from krea_studio.library.store import RECORDS_FILE, Library
from krea_studio.runs.rows import Rows

SERVING = """
import sys, threading, time
from krea_studio.runs import runs
from krea_studio.library.store import Library
from krea_studio.recipe.request import parse_request
from krea_studio.services import services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.launch import build_demo, serve_demo
from tests.library.test_store import save
from tests.ui.conftest import PageEngine

runs.LEAVING_SECONDS = 0.5
halt = lambda: (print("drawing", flush=True), time.sleep(600))
library = Library(sys.argv[1])
save(library)
engine = PageEngine([halt])
services = services_over(Settings(library=library.folder, port=int(sys.argv[2])), library, engine, engine)
demo = build_demo(services)
threading.Thread(target=lambda: time.sleep(600)).start()  # such as a download that nobody can end
services.runs.submit(parse_request({"prompt": "a fox", "resolution": "512"}))
serve_demo(demo, services)
"""


def test_a_server_that_is_asked_to_end_leaves_all_that_the_next_one_needs(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVING, str(tmp_path / "library"), str(port)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout
        waited = {"drawing", "Krea Studio is at"}
        while waited and (line := server.stdout.readline()):
            waited = {words for words in waited if words not in line}
        server.send_signal(signal.SIGTERM)  # which is handled as Ctrl+C is
        told, _ = server.communicate(timeout=60)
    assert (server.returncode, waited) == (0, set())
    assert "1 run will go on when the studio is started again" in told and "Traceback" not in told
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "library" / RECORDS_FILE, tmp_path / "copy")
    copy = Library(tmp_path / "copy")
    assert copy.records.count() == 1
    assert [row.request.prompt for row in Rows(copy.records).unfinished() if row.request] == ["a fox"]
    copy.close()
