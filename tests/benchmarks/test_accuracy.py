"""The benchmarks of accuracy run from one end to the other, and compare on the same images."""

from benchmarks import ablation, accuracy


def test_it_trains_both_and_prints_both(prepared, raw_params, write_params, capsys):
    raw_params["model"] |= {"conv_layers": 2, "filters": 8, "fc_layers": 1}
    raw_params["train"] |= {"epochs": 3, "precision": "fp32"}
    file = write_params(raw_params)
    accuracy.main(["--prepared", str(prepared), "--params", str(file), "--rates", "0.05"])
    printed = capsys.readouterr().out
    lines = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")][2:]
    assert [line.split(" (")[0] for line in lines] == ["ours, baseline", "resnet18, rate 0.05"]
    assert "256 training images of 16 x 16 pixels" in printed


def test_the_ablation_trains_each_change_once_and_compares_it_with_the_first(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(ablation.CHANGES, "no flip", {"train": {"flip": False}})
    monkeypatch.setattr(ablation, "NETWORK", {"conv_layers": 2, "filters": 8, "fc_layers": 1})
    arguments = ["--prepared", str(prepared), "--epochs", "2", "--only", "no flip", "--keep", str(tmp_path / "kept")]
    ablation.main(arguments)
    printed = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert [line[0] for line in lines[2:]] == ["as it is", "no flip"]
    alone, changed = (line[4].partition(" (") for line in lines[2:])
    assert alone[0] == "+0.0" and changed != alone
    monkeypatch.setattr(ablation.training, "fit", None)  # what is kept isn't trained again
    ablation.main(arguments)
    assert capsys.readouterr().out == printed
