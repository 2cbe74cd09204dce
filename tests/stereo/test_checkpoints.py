"""Weights from files: published layouts, our own record, safetensors, and everything that is refused."""

import io
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pseudolidar.files import FormatError
from pseudolidar.stereo import PSMNet, PSMNetWeights, load_psmnet, save_psmnet
from pseudolidar.stereo.psmnet import channels_last
from pseudolidar.training import save_checkpoint

# Four pooling branches, as the published network, so that a file without a record can be told apart.
NARROW: dict[str, Any] = {"width": 4, "pool_sizes": (64, 32, 16, 8), "hourglasses": 2, "blocks": (1, 2, 1, 1)}


def narrow(**arguments: Any) -> PSMNet:
    torch.manual_seed(0)
    model = PSMNet(**{**NARROW, **arguments})
    # Statistics other than at the start, as after training.
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand_like(buffer))
    return model


def published(model: PSMNet) -> dict[str, Tensor]:
    """Weights as DataParallel of PyTorch 0.3 named and counted them."""
    state = model.state_dict()
    return {f"module.{name}": tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def assert_same_weights(found: PSMNet, expected: PSMNet) -> None:
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_published_layouts(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    model = narrow()
    state = published(model)
    # As the published training script writes it, with its loss as a numpy number.
    content = {"epoch": 10, "state_dict": state, "train_loss": np.float64(1.25)} if wrapped else state
    torch.save(content, tmp_path / "published.tar", _use_new_zipfile_serialization=zipped)
    found = load_psmnet(tmp_path / "published.tar", align_corners=True)
    assert_same_weights(found, model)
    assert not found.training
    assert found.align_corners and found.feature_extraction.align_corners
    assert found.max_disparity == 192


class _Call:
    """Pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def write_as_in_2018(path: Path, state: dict[str, Tensor]) -> None:
    """Write {"state_dict": state} as PyTorch 0.3 under Python 2 did from a GPU: no class of today writes that."""
    storages: dict[str, Tensor] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> tuple[Any, ...] | None:
            if not isinstance(thing, Tensor):
                return None
            key = str(id(thing))
            storages[key] = thing
            return "storage", torch.cuda.FloatStorage, key, "cuda:0", thing.numel(), None

    def pickled(thing: Any) -> bytes:
        buffer = io.BytesIO()
        Pickler(buffer, 2).dump(thing)
        data = buffer.getvalue()
        starts = [position for _, _, position in pickletools.genops(data) if position is not None]
        parts = []
        for (code, text, _), start, end in zip(pickletools.genops(data), starts, [*starts[1:], len(data)], strict=True):
            # Python 2's strings are bytes.
            text = str(text).encode()
            parts.append(b"U" + bytes([len(text)]) + text if code.name == "BINUNICODE" else data[start:end])
        return b"".join(parts)

    tensors = {
        name: _Call(torch._utils._rebuild_tensor, tensor, 0, tuple(tensor.shape), tensor.stride())
        for name, tensor in state.items()
    }
    head = [pickled(part) for part in (torch.serialization.MAGIC_NUMBER, 1001, {"protocol_version": 1001})]
    body = pickled({"state_dict": OrderedDict(tensors)})
    data = [struct.pack("<q", storages[key].numel()) + storages[key].numpy().tobytes() for key in sorted(storages)]
    path.write_bytes(b"".join([*head, body, pickled(sorted(storages)), *data]))


def test_a_file_of_2018(tmp_path: Path) -> None:
    model = narrow()
    write_as_in_2018(tmp_path / "old.tar", published(model))
    assert_same_weights(load_psmnet(tmp_path / "old.tar", align_corners=True), model)


def test_a_whole_published_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PSMNet()
    torch.save({"state_dict": published(model)}, tmp_path / "whole.tar")
    assert_same_weights(load_psmnet(tmp_path / "whole.tar", align_corners=False), model)


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    torch.save(published(narrow()), tmp_path / "a.tar")
    before = torch.get_rng_state()
    load_psmnet(tmp_path / "a.tar", align_corners=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    model = narrow().half()
    torch.save(model.state_dict(), tmp_path / "half.pt")
    assert_same_weights(load_psmnet(tmp_path / "half.pt", align_corners=True), model.float())


def test_a_registered_range_of_disparities_is_no_weight(tmp_path: Path) -> None:
    state = {**published(narrow()), "module.disparityregression.disp": torch.arange(192.0).reshape(1, 192, 1, 1)}
    torch.save(state, tmp_path / "fork.tar")
    assert_same_weights(load_psmnet(tmp_path / "fork.tar", align_corners=True), narrow())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_our_own_files_say_how_they_were_trained(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ours{suffix}"
    model = narrow(align_corners=True, pool_sizes=(8, 4), max_disparity=64)
    save_psmnet(path, model)
    found = load_psmnet(path)
    assert_same_weights(found, model)
    assert (found.align_corners, found.max_disparity, found.feature_extraction.pool_sizes) == (True, 64, (8, 4))
    # Weights come back channels last. oneDNN sums in another order then, on noise 3e-4 px apart; in one layout the two
    # networks are one.
    channels_last(model)
    assert [weight.stride() for weight in found.parameters()] == [weight.stride() for weight in model.parameters()]
    pair = torch.randn(2, 1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(found(*pair), model.eval()(*pair))
    assert load_psmnet(path, align_corners=True, max_disparity=32).max_disparity == 32
    with pytest.raises(FormatError, match=r"ours.*align_corners: found a record of True, expected False, as chosen"):
        load_psmnet(path, align_corners=False)
    first = path.read_bytes()
    save_psmnet(path, found)
    assert path.read_bytes() == first


def test_safetensors_of_others_are_read_and_ask_for_the_choice(tmp_path: Path) -> None:
    model = narrow()
    save_file(published(model), tmp_path / "theirs.safetensors")
    assert_same_weights(load_psmnet(tmp_path / "theirs.safetensors", align_corners=False), model)
    with pytest.raises(FormatError, match="align_corners"):
        load_psmnet(tmp_path / "theirs.safetensors")


def test_without_a_record_the_choice_is_demanded_and_explained(tmp_path: Path) -> None:
    torch.save(published(narrow()), tmp_path / "published.tar")
    with pytest.raises(FormatError, match=r"align_corners.*no record.*True for weights trained before PyTorch 0\.4"):
        load_psmnet(tmp_path / "published.tar")


def test_max_disparity_is_free_but_a_multiple_of_16(tmp_path: Path) -> None:
    torch.save(published(narrow()), tmp_path / "published.tar")
    assert load_psmnet(tmp_path / "published.tar", True, 48).max_disparity == 48
    for wrong in (0, 100):
        with pytest.raises(ValueError, match=f"max_disparity: found {wrong}") as caught:
            load_psmnet(tmp_path / "published.tar", True, wrong)
        assert not isinstance(caught.value, FormatError)


def saved(path: Path, state: dict[str, Any]) -> Path:
    torch.save({"state_dict": state}, path)
    return path


def test_a_wrong_shape_names_the_layer(tmp_path: Path) -> None:
    state = dict(narrow().state_dict())
    state["dres0.0.0.weight"] = state["dres0.0.0.weight"].transpose(0, 1)
    state["classif1.2.weight"] = state["classif1.2.weight"][:, :2]
    path = saved(tmp_path / "turned.tar", state)
    pattern = r"turned\.tar: dres0\.0\.0\.weight: found \(8, 4, 3, 3, 3\), expected \(4, 8, 3, 3, 3\).*2 shapes, 0 miss"
    with pytest.raises(FormatError, match=pattern):
        load_psmnet(path, align_corners=True)


def test_layers_that_are_missing_or_unknown_are_counted(tmp_path: Path) -> None:
    state = dict(narrow().state_dict())
    del state["dres1.2.1.bias"], state["dres1.2.1.running_var"]
    state["classify.weight"] = torch.zeros(3)
    path = saved(tmp_path / "less.tar", state)
    with pytest.raises(FormatError, match=r"dres1\.2\.1\.bias: found nothing, expected \(4,\).*2 missing, 1 unknown"):
        load_psmnet(path, align_corners=True)


def test_another_architecture(tmp_path: Path) -> None:
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    with pytest.raises(FormatError, match=r"feature_extraction\.firstconv\.0\.0\.weight: found nothing.*7 unknown"):
        # Before any question about align_corners.
        load_psmnet(saved(tmp_path / "other.tar", other.state_dict()))


def test_pooling_windows_that_no_shape_tells(tmp_path: Path) -> None:
    path = saved(tmp_path / "three.tar", narrow(pool_sizes=(8, 4, 2)).state_dict())
    with pytest.raises(FormatError, match="3 pooling branches, and no record"):
        load_psmnet(path, align_corners=True)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = dict(narrow().state_dict())
    state["dres1.0.1.running_var"] = torch.full((4,), torch.nan)
    with pytest.raises(FormatError, match=r"dres1\.0\.1\.running_var: found NaN"):
        load_psmnet(saved(tmp_path / "nan.tar", state), align_corners=True)


def test_a_record_of_no_network(tmp_path: Path) -> None:
    state = narrow().state_dict()
    for arguments in ({"depth": 3}, {"max_disparity": 20}, {"blocks": "many"}, ["a", "b"]):
        save_checkpoint(tmp_path / "odd.pt", {"state_dict": state, "arguments": arguments})
        with pytest.raises(FormatError, match=r"odd\.pt: arguments"):
            load_psmnet(tmp_path / "odd.pt")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


def text(path: Path) -> None:
    path.write_text("<html>this download needs a confirmation</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_list(path: Path) -> None:
    torch.save([1, 2], path)


def a_word_as_weight(path: Path) -> None:
    torch.save({"state_dict": {"weight": "heavy"}}, path)


@pytest.mark.parametrize("damage", [truncated, text, empty, a_list, a_word_as_weight])
@pytest.mark.parametrize("layout", ["zip", "legacy", "safetensors"])
def test_broken_files_are_named(tmp_path: Path, layout: str, damage: Callable[[Path], None]) -> None:
    path = tmp_path / ("broken.safetensors" if layout == "safetensors" else "broken.tar")
    if layout == "safetensors":
        save_psmnet(path, narrow())
    else:
        torch.save(published(narrow()), path, _use_new_zipfile_serialization=layout == "zip")
    damage(path)
    with pytest.raises(FormatError, match=r"broken\."):
        load_psmnet(path, align_corners=True)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing there"):
        load_psmnet(tmp_path / "none.tar")


class _Runs:
    """Unpickled carelessly, it makes the folder that it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, layout: str) -> None:
    proof = tmp_path / "was_run"
    path = tmp_path / "hostile.tar"
    content = {"state_dict": published(narrow()), "train_loss": _Runs(proof)}
    if layout == "pickle":
        path.write_bytes(pickle.dumps({"train_loss": _Runs(proof)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(FormatError, match=r"hostile\.tar: pickle: found \w+\.mkdir, neither .*; nothing was run"):
        load_psmnet(path, align_corners=True)
    assert not proof.exists()
    # The file is a live one: careless unpickling does run it.
    if layout == "pickle":
        pickle.load(io.BytesIO(path.read_bytes()))
    else:
        torch.load(path, weights_only=False)
    assert proof.exists()


def test_the_precision_of_training_is_known(tmp_path: Path) -> None:
    content = {"state_dict": narrow().state_dict(), "arguments": {**NARROW, "align_corners": False}}
    save_checkpoint(tmp_path / "a.pt", {**content, "precision": "bfloat16"})
    assert PSMNetWeights.from_file(tmp_path / "a.pt").precision == "bfloat16"
    save_psmnet(tmp_path / "b.safetensors", narrow())
    assert PSMNetWeights.from_file(tmp_path / "b.safetensors").precision == "float32"
