"""GPUs of this machine for local sandboxes. Devices and the driver's files are made up: no test needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes import aio
from sandboxes.contract import GpuRequest, Spec
from sandboxes.errors import CapacityUnavailable, InvalidSpec
from sandboxes.local import gpus
from sandboxes.local.gpus import Gpu, Gpus, choose, device_words, found, names_of
from sandboxes.local.spec import BoxSpec, parse_spec
from sandboxes.providers.local import LocalProvider


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("NVIDIA H100 80GB HBM3", ("H100-80GB", "H100")),
        ("NVIDIA A100-SXM4-80GB", ("A100-80GB", "A100")),
        ("NVIDIA A100-PCIE-40GB", ("A100-40GB", "A100")),
        ("Tesla T4", ("T4",)),
        ("NVIDIA L4", ("L4",)),
        ("NVIDIA L40S", ("L40S",)),
        ("NVIDIA A10", ("A10",)),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", ("RTX-PRO-6000",)),
        ("NVIDIA GeForce RTX 4090", ("GeForce-RTX-4090",)),
    ],
)
def test_the_drivers_names_become_those_that_are_asked_for(model: str, names: tuple[str, ...]) -> None:
    assert names_of(model) == names


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """Two H100 and an L4; the fourth has no device, as in a container that was not given it."""
    devices, driver = tmp_path / "dev", tmp_path / "driver"
    devices.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (devices / name).touch()
    for number, model in enumerate(["NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA L4", "NVIDIA L4"]):
        folder = driver / f"0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 0\nDevice Minor: \t {number}\n")
    return devices, driver


def test_the_gpus_of_a_machine_are_found(machine: tuple[Path, Path]) -> None:
    assert found(*machine) == [Gpu(0, ("H100-80GB", "H100")), Gpu(1, ("H100-80GB", "H100")), Gpu(2, ("L4",))]
    assert found(machine[0], machine[1] / "none") == []


def test_each_gpu_has_one_user_at_a_time(machine: tuple[Path, Path]) -> None:
    held = Gpus(found(*machine))
    assert held.take("a", ["H100"], 1) == (0,)
    assert held.take("b", ["B200", "H100"], 1) == (1,)
    with pytest.raises(CapacityUnavailable, match="in use"):
        held.take("c", ["H100-80GB"], 1)
    held.give_back("a")
    assert held.take("c", ["H100-80GB"], 1) == (0,)
    assert held.take("d", ["H100", "L4"], 1) == (2,)


@pytest.mark.parametrize(("types", "count"), [(["B200"], 1), (["L4"], 2), (["H100"], 3)])
def test_what_this_machine_never_has_is_refused(machine: tuple[Path, Path], types: list[str], count: int) -> None:
    with pytest.raises(InvalidSpec, match=r"it has: H100-80GB, H100-80GB, L4"):
        choose(found(*machine), types, count)


def test_a_sandbox_sees_its_own_devices_and_the_common_ones(machine: tuple[Path, Path]) -> None:
    words = device_words([1], machine[0])
    assert [words[at + 2] for at in range(0, len(words), 3)] == ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    assert device_words([], machine[0]) == []


def test_a_client_cannot_name_devices_itself() -> None:
    with pytest.raises(InvalidSpec, match="unknown fields in the spec: gpus"):
        parse_spec({"gpus": [0]})
    with pytest.raises(InvalidSpec, match="gpu_types"):
        parse_spec({"gpu_types": "H100", "gpu_count": 1})
    assert not parse_spec({"gpu_types": ["L4"], "gpu_count": 1}).fits_pool(BoxSpec())


def test_a_machine_without_one_says_so_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, machine: tuple[Path, Path]
) -> None:
    provider = LocalProvider("/nowhere.sock", autostart=False)
    spec = Spec(gpu=GpuRequest(("H100",), 2))
    monkeypatch.setattr(gpus, "found", list)
    assert [problem.field for problem in provider.validate(spec)] == ["gpu"]
    with pytest.raises(InvalidSpec, match="has no NVIDIA GPU"):
        aio.run(provider.create(spec, idempotency_key=""))
    monkeypatch.setattr(gpus, "found", lambda: found(*machine))
    assert provider.validate(spec) == []
