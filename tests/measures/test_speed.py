from krea_studio.engine.local.drawing import Drawing
from krea_studio.measures import speed as measure
from krea_studio.measures import timing
from krea_studio.settings import Settings


def test_the_report_is_written_with_its_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measure, "measure_speed", lambda pairs, told: told(timing.Row("a thing", "2.00", "≥ 1.8")))
    report = tmp_path / "deep" / "speed.md"
    assert measure.main(["--report", str(report)]) == 0
    text = report.read_text("utf-8")
    assert measure.COMMAND in text and "| a thing | 2.00 | ≥ 1.8 |" in text
    assert "| a thing | 2.00 | ≥ 1.8 |" in capsys.readouterr().out


def test_both_sides_draw_the_same_picture_and_a_known_prompt_is_not_encoded_again():
    settings = Settings()
    bench = measure.Bench(Drawing(settings), "turbo", settings.checkpoint_turbo, "512", steps=1)
    assert bench.difference(1) <= 1
    assert measure.encoder_calls(bench) == 0
