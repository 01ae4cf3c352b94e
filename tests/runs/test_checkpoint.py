"""Checkpoints: every value survives, every kill leaves a state, every bad file is named."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from spl import __version__
from spl.runs import tensors
from spl.runs.checkpoint import CheckpointError, latest, load, save
from spl.runs.checksums import seal


def round_trip(folder: Path, value: Any) -> Any:
    save(folder, {"x": value}, step=1)
    return load(folder)["x"]


PLAIN = [
    0, -1, 2**127 + 1, 0.1, -0.0, 1e-320, float("inf"), float("-inf"), True, None, "", "ü\n\0\U0001f600",
    [], {}, (), [1, (2, [3])], {"$tensor": "x"}, {"a/b": 1, "a": {"b": 2}},
    {0: "int", "0": "str", True: "bool"}, {-3: {"deep": (1,)}},
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_plain_value_survives_exactly(tmp_path: Path, value: Any) -> None:
    found = round_trip(tmp_path, value)
    assert (found, type(found), repr(found)) == (value, type(value), repr(value))


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
def test_who_may_read_the_state_may_read_the_tensors(tmp_path: Path) -> None:
    save(tmp_path, {"x": torch.zeros(1)}, step=1)
    files = [path for path in (tmp_path / "last").iterdir() if path.is_file()]
    assert len(files) == 2
    assert len({path.stat().st_mode for path in files}) == 1


def test_nan_survives(tmp_path: Path) -> None:
    found = round_trip(tmp_path, [float("nan"), np.float32("nan")])
    assert [type(value) for value in found] == [float, np.float32]
    assert found[0] != found[0]
    assert found[1] != found[1]


TENSORS = {
    "zero_dimensional": torch.tensor(3.5, dtype=torch.float64),
    "bool": torch.tensor([True, False]),
    "uint8": torch.arange(5, dtype=torch.uint8),
    "float16": torch.randn(3, generator=torch.Generator().manual_seed(0)).half(),
    "bfloat16": torch.tensor([1.5, float("inf")], dtype=torch.bfloat16),
    "complex64": torch.tensor([1 + 2j]).conj(),
    "transposed": torch.arange(6).reshape(2, 3).T,
    "expanded": torch.ones(1).expand(4),
    "channels_last": torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    ),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(2)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_survives(tmp_path: Path, name: str) -> None:
    tensor = TENSORS[name]
    found = round_trip(tmp_path, tensor)
    assert found.dtype == tensor.dtype
    assert found.shape == tensor.shape
    assert torch.equal(found, tensor.detach())


ARRAYS = {
    "zero_dimensional": np.array(7, dtype=np.int16),
    "bool": np.array([True, False]),
    "uint16": np.arange(4, dtype=np.uint16),
    "uint64": np.array([2**64 - 1], dtype=np.uint64),
    "float16": np.array([0.1], dtype=np.float16),
    "reversed": np.arange(5)[::-1],
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "read_only": np.frombuffer(b"\x01\x02", dtype=np.uint8),
    "empty": np.zeros((0, 2), dtype=np.float32),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_survives(tmp_path: Path, name: str) -> None:
    found = round_trip(tmp_path, ARRAYS[name])
    assert isinstance(found, np.ndarray)
    assert found.dtype == ARRAYS[name].dtype.newbyteorder("=")
    assert found.flags.writeable
    np.testing.assert_array_equal(found, ARRAYS[name])


@pytest.mark.parametrize(
    "value", [np.float32(0.1), np.float64(0.1), np.int64(-3), np.bool_(True), np.uint8(7)]
)
def test_a_numpy_scalar_keeps_its_type(tmp_path: Path, value: Any) -> None:
    found = round_trip(tmp_path, value)
    assert (found, type(found)) == (value, type(value))


def test_tensors_that_share_memory_come_back_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    array = base.numpy()
    save(tmp_path, {"a": base, "b": base, "c": base[2:4], "d": array, "e": {"b": 1}, "e/b": base}, step=1)
    found = load(tmp_path)
    found["a"].zero_()
    assert torch.equal(found["b"], base)
    assert torch.equal(found["c"], base[2:4])
    np.testing.assert_array_equal(found["d"], array)


def test_tensors_at_colliding_paths_stay_apart(tmp_path: Path) -> None:
    state = {"a/b": torch.zeros(1), "a": {"b": torch.ones(1), 0: torch.tensor(2), "0": torch.tensor(3)}}
    save(tmp_path, state, step=1)
    found = load(tmp_path)
    assert (found["a/b"].item(), found["a"]["b"].item(), found["a"][0].item(), found["a"]["0"].item()) == (
        0,
        1,
        2,
        3,
    )


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, b"x", object(), np.array(["x"]), np.array([None]), np.zeros(1, np.complex128), {(1, 2): 3},
        torch.zeros(1, dtype=torch.complex128), torch.eye(2).to_sparse(), np.datetime64("2020-01-01"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_kept_is_named_before_anything_is_written(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"state/a/0 must be a number.*; convert it before saving"):
        save(tmp_path / "new", {"a": [value]}, step=1)
    assert not (tmp_path / "new").exists()


def test_random_generators_go_on_as_if_never_stopped(tmp_path: Path) -> None:
    torch_generator, numpy_generator = torch.Generator().manual_seed(3), np.random.default_rng(3)
    twister = np.random.Generator(np.random.MT19937(5))  # its state holds an array
    twister.random(7)
    state = {"torch": torch_generator.get_state(), "numpy": numpy_generator.bit_generator.state}
    save(tmp_path, {**state, "twister": twister.bit_generator.state}, step=1)
    expected = torch.rand(4, generator=torch_generator), numpy_generator.random(4), twister.random(4)
    found = load(tmp_path)
    torch_generator.set_state(found["torch"])
    numpy_generator.bit_generator.state = found["numpy"]
    twister.bit_generator.state = found["twister"]
    assert torch.equal(torch.rand(4, generator=torch_generator), expected[0])
    np.testing.assert_array_equal(numpy_generator.random(4), expected[1])
    np.testing.assert_array_equal(twister.random(4), expected[2])


def learner() -> tuple[torch.nn.Module, torch.optim.Optimizer, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(4, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model, torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.8, 0.99), amsgrad=True), generator


def learn(model: torch.nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
    for _ in range(5):
        loss = model(torch.randn(8, 4, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_adam_goes_on_bit_equal_after_loading(tmp_path: Path) -> None:
    straight = learner()
    learn(*straight)
    model, optimizer, generator = straight
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
    }
    save(tmp_path, state, step=5)
    learn(*straight)
    resumed = learner()
    found = load(tmp_path)
    resumed[0].load_state_dict(found["model"])
    resumed[1].load_state_dict(found["optimizer"])
    resumed[2].set_state(found["generator"])
    assert found["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    learn(*resumed)
    for after, expected in zip(resumed[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(after, expected)


def test_the_newest_are_kept_and_last_points_to_the_newest(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    for step in (1000, 2000, 3000):
        path = save(folder, {"step": step}, step=step, meta={"note": "x"}, keep=2)
    assert path == latest(folder) == folder / "step-000003000"
    assert sorted(os.listdir(folder)) == ["last", "step-000002000", "step-000003000"]
    assert os.readlink(folder / "last") == "step-000003000"
    assert [load(folder), load(folder / "step-000002000"), load(folder / "last")] == [
        {"step": 3000}, {"step": 2000}, {"step": 3000},
    ]  # fmt: skip
    document = json.loads((path / "state.json").read_text())
    assert (document["format"], document["version"], document["step"]) == ("spl-checkpoint", 2, 3000)
    assert document["meta"] == {"spl": __version__, "torch": torch.__version__, "note": "x"}


def test_a_run_resumed_from_an_earlier_step_keeps_what_it_saves(tmp_path: Path) -> None:
    for step in (100, 200, 50):
        save(tmp_path, {"step": step}, step=step, keep=1)
    assert load(tmp_path) == {"step": 50}
    assert sorted(os.listdir(tmp_path)) == ["last", "step-000000050"]


def test_the_same_step_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, {"x": 1}, step=7)
    save(tmp_path, {"x": 2}, step=7)
    assert load(tmp_path) == {"x": 2}
    assert sorted(os.listdir(tmp_path)) == ["last", "step-000000007"]


def test_without_last_the_highest_complete_step_is_loaded(tmp_path: Path) -> None:
    assert latest(tmp_path / "none") is None
    for step in (1, 2, 3):
        save(tmp_path, {"step": step}, step=step, keep=3)
    (tmp_path / "last").unlink()
    (tmp_path / "step-000000003" / "tensors.safetensors").unlink()
    assert load(tmp_path) == {"step": 2}
    (tmp_path / "last").symlink_to("gone")
    assert load(tmp_path) == {"step": 2}
    os.rename(tmp_path / "step-000000002", tmp_path / "step-000000002-replaced")  # killed between two renames
    assert load(tmp_path) == {"step": 2}


def test_a_copy_that_followed_the_link_goes_on(tmp_path: Path) -> None:
    save(tmp_path / "a", {"x": 1}, step=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=False)
    assert (tmp_path / "b" / "last").is_dir()
    assert not (tmp_path / "b" / "last").is_symlink()
    assert load(tmp_path / "b") == {"x": 1}
    save(tmp_path / "b", {"x": 2}, step=2)
    assert load(tmp_path / "b") == {"x": 2}
    assert (tmp_path / "b" / "last").is_symlink()


def test_a_damaged_one_is_passed_over_with_a_sentence(tmp_path: Path, capsys) -> None:
    for step in (1, 2, 3):
        save(tmp_path, {"step": step, "x": torch.zeros(9)}, step=step, keep=3)
    (tmp_path / "step-000000003" / "tensors.safetensors").write_bytes(b"cut")
    told: list[str] = []
    assert load(tmp_path, tell=told.append)["step"] == 2
    (sentence,) = told
    assert re.fullmatch(
        r".*step-000000003/tensors.safetensors is missing, cut or corrupt: its checksum is \w{8}, that of "
        r"the file saved with state.json \w{8}: step-000000002 is used instead",
        sentence,
    )
    assert load(tmp_path)["step"] == 2
    assert capsys.readouterr().err == f"spl: {sentence}\n"
    assert latest(tmp_path) == tmp_path / "step-000000003"
    save(tmp_path, {"step": 2.5}, step=2, keep=2)
    assert sorted(os.listdir(tmp_path)) == ["last", "step-000000001", "step-000000002"]
    for step in (2, 1):
        (tmp_path / f"step-00000000{step}" / "state.json").write_text("{")
        with pytest.raises(CheckpointError) as raised:
            load(tmp_path, tell=told.append) if step == 1 else load(tmp_path / "step-000000002")
    assert str(raised.value).endswith("; no other one is intact: copy the run again, or train again")
    assert latest(tmp_path) is not None
    assert told == [sentence]


def test_what_was_added_to_a_checkpoint_is_told(tmp_path: Path, capsys) -> None:
    path = save(tmp_path, {"x": 1}, step=1)
    for name in (".DS_Store", "notes.txt"):
        (path / name).write_text("x")
    assert load(tmp_path) == {"x": 1}
    assert capsys.readouterr().err == f"spl: {path} holds notes.txt which no checkpoint has: it is not read\n"


def test_a_fifo_in_a_checkpoint_is_not_waited_for(tmp_path: Path) -> None:
    path = save(tmp_path, {"x": 1}, step=1)
    for name in ("tensors.safetensors", "state.json"):
        (path / name).unlink()
        os.mkfifo(path / name)
        with pytest.raises(CheckpointError, match=f"{name} is not a regular file"):
            load(tmp_path)


def test_a_moved_folder_still_loads(tmp_path: Path) -> None:
    save(tmp_path / "a", {"x": 1}, step=1)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert load(tmp_path / "b") == {"x": 1}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("spl.runs.tensors.save_file", 1),
        ("json.dumps", 1),
        ("os.fsync", 1),
        ("os.fsync", 3),
        ("os.replace", 1),
        ("pathlib.Path.symlink_to", 1),
        ("os.replace", 2),
    ],
)
@pytest.mark.parametrize("step", [1, 2])
def test_a_save_that_fails_at_any_stage_leaves_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, call: int, step: int, error: BaseException
) -> None:
    save(tmp_path, {"x": torch.tensor(1)}, step=1)
    module, name = target.rsplit(".", 1)
    owner = {"spl.runs.tensors": tensors, "json": json, "os": os, "pathlib.Path": Path}[module]
    original, calls = getattr(owner, name), []

    def fail(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == call:
            raise error
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(type(error)) as caught:
            save(tmp_path, {"x": torch.tensor(2)}, step=step)
    if isinstance(error, OSError):
        assert f"cannot save step {step} in {tmp_path}" in str(caught.value)
        assert "No space left on device" in str(caught.value)
    is_renamed = target == "pathlib.Path.symlink_to" or call == 2
    assert load(tmp_path)["x"].item() == (2 if is_renamed and step == 1 else 1)
    assert not [path for path in os.listdir(tmp_path) if path.startswith(".")]
    save(tmp_path, {"x": torch.tensor(3)}, step=3)
    assert load(tmp_path)["x"].item() == 3


def test_a_full_disk_that_safetensors_tells_of_is_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", fail)
    with pytest.raises(OSError, match=r"cannot save step 4 in .*No space left"):
        save(tmp_path, {}, step=4)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".step-000000009.tmp-1"
    left.mkdir()
    (left / "tensors.safetensors").write_bytes(b"half")
    (tmp_path / ".last.tmp-1").symlink_to("nowhere")
    save(tmp_path, {}, step=10)
    assert sorted(os.listdir(tmp_path)) == ["last", "step-000000010"]


@pytest.mark.parametrize(("step", "keep"), [(-1, 1), (0, 0)])
def test_a_negative_step_or_nothing_to_keep_is_refused(tmp_path: Path, step: int, keep: int) -> None:
    with pytest.raises(ValueError, match=f"got step {step} and keep {keep}"):
        save(tmp_path, {}, step=step, keep=keep)


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\xff" * 40, b"half"], ids=["empty", "short", "noise", "half"]
)
@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_cut_or_corrupt_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    file = save(tmp_path, {"x": torch.arange(100)}, step=1) / name
    file.write_bytes(file.read_bytes()[:-9] if content == b"half" else content)
    with pytest.raises(CheckpointError, match=f"{name} is missing, cut or corrupt"):
        load(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing, cut or corrupt"):
        load(file.parent)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"format": "other"},
            "must have the format 'spl-checkpoint', got 'other'; it is not a checkpoint of spl",
        ),
        ({"version": 3}, "must have version 1 or 2, got 3; update spl"),
        ({"state": {"x": {"$tensor": "state/y"}}}, "the tensor 'state/y' is missing; there is no other"),
        ({"state": {"x": {"$new": 1}}}, r"unknown word '\$new'; there is no other"),
        ({"state": {"$items": 3}}, "does not fit tensors.safetensors"),
        ({"state": [1]}, "must hold a state with keys, got list"),
    ],
)
def test_a_foreign_state_file_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    file = save(tmp_path, {"x": torch.zeros(1)}, step=1) / "state.json"
    document = json.loads(file.read_text())
    file.write_text(seal({**{key: document[key] for key in document if key != "crc32"}, **changes}))
    with pytest.raises(CheckpointError, match=sentence):
        load(tmp_path)
    file.write_text("[]")
    with pytest.raises(CheckpointError, match="got None"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["", "none", "file"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="is not a checkpoint: expected a folder with state"):
        load(tmp_path / name)
