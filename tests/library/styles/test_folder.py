"""A folder of style files: a file is looked at again when what says how to read it is another."""

from pathlib import Path

from krea_studio.library.styles.folder import StyleFolder


def test_a_config_that_comes_or_changes_makes_its_file_new(tmp_path: Path) -> None:
    folder, config = StyleFolder(tmp_path / "styles", tmp_path / "kept"), tmp_path / "styles" / "adapter_config.json"
    config.parent.mkdir()
    files = [config.with_name(name) for name in ("adapter_model.safetensors", "ink.safetensors")]
    for file in files:
        file.write_bytes(b"weights")

    def looked_at() -> list[Path]:
        new = folder.new()
        for path, stamp in new.items():
            folder.remember(path, stamp, refusal="its config cannot be read")
        return list(new)

    assert looked_at() == files and looked_at() == []
    config.write_text("{")
    assert looked_at() == files[:1] and looked_at() == [] and set(folder.refusals()) == set(files)
    config.write_text("{}")
    assert looked_at() == files[:1]
    config.with_name("other.json").write_text("{}")
    assert looked_at() == []
    config.unlink()
    assert looked_at() == files[:1]
