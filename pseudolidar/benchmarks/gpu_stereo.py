"""PSMNet on an NVIDIA GPU, part by part: where its time goes, and which parts are worth a kernel of their own."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pseudolidar.benchmarks.gpu_measure import Calls, gpu_seconds, gpu_table, kernel_table, product_rate
from pseudolidar.benchmarks.psmnet import HEIGHT, MAX_DISPARITY, WIDTH, PlainPSMNet, random_network
from pseudolidar.stereo import FrozenPSMNet, PSMNet, load_psmnet
from pseudolidar.stereo.frozen import _down_and_up, _score_taps, _summed_taps
from pseudolidar.stereo.psmnet import STRIDE, Hourglass, channels_last, cost_volume
from pseudolidar.stereo.regression import _in_bands, regress_disparity, soft_argmin
from pseudolidar.stereo.train import disparity_loss
from pseudolidar.stereo.upsampling import Upsampling
from pseudolidar.stereo.volume_convolution import assembled
from pseudolidar.tables import Row, Table

CROP = (256, 512)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def stereo_tables(repetitions: int, weights: str | None, align_corners: bool | None) -> Iterator[Table]:
    """PSMNet on a pair of KITTI's size and in training; `weights`, `align_corners` as in `benchmarks.psmnet`."""
    model = random_network() if weights is None else load_psmnet(weights, align_corners, MAX_DISPARITY)
    model.cuda()
    pair = torch.randn((2, 1, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0)).cuda()
    yield _inference(model, pair, repetitions)
    half = FrozenPSMNet(model, torch.float16)
    both = pair.flatten(0, 1).half().contiguous(memory_format=torch.channels_last)
    yield gpu_table(repetitions, "PSMNet, one pair, float16, by part", "", inference_parts(half, both))
    yield kernel_table("PSMNet, one pair, float16: the kernels that take longest", lambda: _unwatched(half, *pair), 25)
    found = convolutions_of(lambda: half(*pair))
    yield convolution_table("PSMNet, one pair, float16", found, torch.float16, False, repetitions)
    yield from _kernels(repetitions)

    model = PSMNet().train().cuda()
    channels_last(model)
    for batch in (4, 12):
        training = Training(model, batch, CROP)
        yield gpu_table(
            max(1, repetitions // 4),
            f"PSMNet, training step: {batch} crops of {CROP[0]} x {CROP[1]} px, max_disparity {MAX_DISPARITY}",
            "float32: convolutions in TF32, as PyTorch takes them",
            training.contenders(),
        )
    yield gpu_table(max(1, repetitions // 4), "A training step by part, bfloat16, batch 12", "", training.parts())
    step = training.contenders()["bfloat16"]
    yield kernel_table("A training step, bfloat16, batch 12: the kernels that take longest", step, 40)
    found = convolutions_of(lambda: training.outputs(torch.bfloat16))
    few = max(1, repetitions // 4)
    yield convolution_table("A training step, bfloat16, batch 12", found, torch.bfloat16, True, few)


def _inference(model: PSMNet, pair: Tensor, repetitions: int) -> Table:
    plain = PlainPSMNet(model).cuda()
    contenders: dict[str, Callable[[], Tensor]] = {}

    def as_published(dtype: torch.dtype) -> Tensor:
        # The published code makes some tensors without naming a device.
        with torch.inference_mode(), torch.device("cuda"), torch.autocast("cuda", dtype, dtype != torch.float32):
            return plain(*pair)

    for name, dtype in _DTYPES.items():
        contenders[f"plain PyTorch, {name}"] = partial(as_published, dtype)
    for name, dtype in _DTYPES.items():
        contenders[f"FrozenPSMNet, {name}"] = partial(_unwatched, FrozenPSMNet(model, dtype), *pair)
        recorded = FrozenPSMNet(model, dtype, record=True)
        contenders[f"FrozenPSMNet, {name}, recorded"] = partial(_unwatched, recorded, *pair)
    with FlopCounterMode(display=False) as counter:
        contenders["FrozenPSMNet, float32"]()
    operations = counter.get_total_flops()
    limits = ", ".join(f"{operations / product_rate(dtype) * 1e3:.2f} ms in {name}" for name, dtype in _DTYPES.items())
    exact = contenders["FrozenPSMNet, float32"]()
    errors = ", ".join(
        f"{name} {float((contenders[f'FrozenPSMNet, {name}, recorded']() - exact).abs().median()):.3f} px"
        for name in ("bfloat16", "float16")
    )
    return gpu_table(
        repetitions,
        f"PSMNet, one pair: {HEIGHT} x {WIDTH} px, max_disparity {MAX_DISPARITY}",
        f"limit: our {operations / 1e9:.0f}e9 operations at the rate of a large matrix product: {limits} (float32 "
        f"without TF32, which PyTorch's convolutions take); from float32, in the median: {errors} (of noise; only "
        "trained weights tell)",
        contenders,
    )


def inference_parts(network: FrozenPSMNet, pair: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Each part of the network alone, on what it sees of a pair (2, 3, H, W): normalised, padded, of its type."""
    matching = network.matching
    hourglass, head = cast(Hourglass, matching.hourglasses[0]), cast(nn.Sequential, matching.heads[0])
    normal, relu, last = head
    with torch.inference_mode():
        left, right = network.features(pair).chunk(2)
        first = matching.first(left, right)
        volume = matching.compare(first.clone())
        scores = matching(left, right)
        taps = _score_taps(volume, cast(nn.Conv3d, last).weight).float()
    calls: dict[str, Callable[[], Tensor]] = {
        "all": lambda: network._disparity(pair),
        "features of both images": lambda: network.features(pair),
        "first volume": lambda: matching.first(left, right),
        "second convolution": lambda: matching.compare(first),
        "third and fourth convolution": lambda: matching.refine(volume),
        "an hourglass": lambda: hourglass.conv6(_down_and_up(hourglass, volume, None, None)[1]),
        "a score head": lambda: _score_taps(relu(normal(volume)), cast(nn.Conv3d, last).weight).float(),
        "scores' taps summed": lambda: _summed_taps(taps),
        "regression": lambda: regress_disparity(scores, network._max_disparity, pair.shape[-2:], False),
    }
    return {name: partial(_unwatched, call) for name, call in calls.items()}


class Convolution(NamedTuple):
    """A 3D convolution: shapes of its input and weight, and PyTorch's other arguments."""

    given: tuple[int, ...]
    weight: tuple[int, ...]
    others: tuple[Any, ...]

    def __str__(self) -> str:
        batch, channels, *size = self.given
        stride, *_, transposed, _, _ = self.others
        outputs = self.weight[1 if transposed else 0]
        kernel, shape = "x".join(map(str, self.weight[2:])), " x ".join(map(str, size))
        kind = f", stride {stride[0]}" * (stride[0] > 1) + ", transposed" * transposed
        return f"{channels} -> {outputs}, {kernel}{kind}: {batch} x {shape}"

    def calls(self, device: str, dtype: torch.dtype, gradients: bool) -> Calls:
        """The convolution of random numbers, channels last, and with `gradients` that of its input and its weight."""
        given, weight = (
            torch.randn(shape, device=device).to(dtype).contiguous(memory_format=torch.channels_last_3d)
            for shape in (self.given, self.weight)
        )

        def forward() -> Tensor:
            return torch.ops.aten.convolution(given, weight, None, *self.others)

        calls: dict[str, Callable[[], object]] = {"": forward}
        if gradients:
            gradient = torch.ones_like(forward())
            for name, mask in (("gradient of input", (True, False)), ("gradient of weight", (False, True))):
                calls[name] = partial(
                    torch.ops.aten.convolution_backward, gradient, given, weight, None, *self.others, [*mask, False]
                )
        return calls


def convolutions_of(call: Callable[[], object]) -> Counter[Convolution]:
    """The 3D convolutions during a call, and how often each comes."""
    found: Counter[Convolution] = Counter()

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if operator is torch.ops.aten.convolution.default and args[0].ndim == 5:
                others = tuple(tuple(each) if isinstance(each, list) else each for each in args[3:])
                found[Convolution(tuple(args[0].shape), tuple(args[1].shape), others)] += 1
            return operator(*args, **(kwargs or {}))

    with torch.no_grad(), Watching():
        call()
    return found


def convolution_table(
    title: str, convolutions: Counter[Convolution], dtype: torch.dtype, gradients: bool, repetitions: int
) -> Table:
    """Time and rate of each convolution, cuDNN's benchmark mode off and on."""
    rows = []
    for convolution, count in convolutions.items():
        calls = convolution.calls("cuda", dtype, gradients)
        with FlopCounterMode(display=False) as counter:
            calls[""]()
        for name, call in calls.items():
            seconds = []
            for benchmark in (False, True):
                with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, allow_tf32=True):
                    seconds.append(statistics.median(gpu_seconds({name: call}, repetitions)[name]))
            rates = (counter.get_total_flops() / each / 1e12 for each in seconds)
            text = f"{convolution}{name and ', '}{name}"
            rows.append(Row((text, count, *(each * 1e3 for each in seconds), *rates)))
    header = (("", "times", "ms", "ms, benchmark mode", "TFLOP/s", "TFLOP/s, benchmark mode"),)
    peak = product_rate(dtype) / 1e12
    return Table(f"3D convolutions: {title}", header, tuple(rows), (f"a large matrix product: {peak:.0f} TFLOP/s",))


def _kernels(repetitions: int) -> Iterator[Table]:
    random = torch.Generator().manual_seed(0)
    levels = MAX_DISPARITY // STRIDE
    scores = 5 * torch.randn((1, levels, HEIGHT // STRIDE, WIDTH // STRIDE), generator=random).cuda()
    yield gpu_table(repetitions, "Regression of disparity", *regression_calls(scores, gradient=False))
    scores = 5 * torch.randn((4, levels, CROP[0] // STRIDE, CROP[1] // STRIDE), generator=random).cuda()
    yield gpu_table(repetitions, "Regression and its gradient, 4 crops", *regression_calls(scores, gradient=True))

    from pseudolidar.stereo import volume_triton

    channels, height, width = 32, HEIGHT // STRIDE, WIDTH // STRIDE
    shifted, of_left = (
        torch.randn(shape, generator=random).cuda().half().contiguous(memory_format=torch.channels_last)
        for shape in ((1, channels, height, width + levels - 1), (1, 5 * channels, height, width))
    )
    calls: Calls = {
        "plain PyTorch": lambda: assembled(shifted, of_left.chunk(5, dim=1), levels),
        "Triton": lambda: volume_triton.assembled(shifted, of_left, levels),
    }
    expected, found = (cast(Tensor, call())[:, :, 1:-1] for call in calls.values())
    note = f"the same bits: {torch.equal(found, expected)}"
    yield gpu_table(repetitions, "Assembly of the first volume, float16", note, calls)


def regression_calls(scores: Tensor, gradient: bool) -> tuple[str, Calls]:
    """How far plain PyTorch and our kernel are from float64, in words, and the calls."""

    def regressed(regress: Callable[..., Tensor], given: Tensor) -> Tensor:
        levels, height, width = given.shape[1:]
        return regress(given, STRIDE * levels, (STRIDE * height, STRIDE * width), False)

    def in_bands(given: Tensor, max_disparity: int, size: tuple[int, int], align_corners: bool) -> Tensor:
        levels, height, width = given.shape[1:]
        return _in_bands(given, Upsampling((levels, height, width), (max_disparity, *size), align_corners))

    ways = {"plain PyTorch": partial(regressed, soft_argmin), "pseudolidar": partial(regressed, regress_disparity)}
    if not gradient:
        ways["plain PyTorch, in bands"] = partial(regressed, in_bands)

    def result(way: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        if not gradient:
            return _unwatched(way, given)
        given = given.detach().requires_grad_()
        return torch.autograd.grad(way(given).sum(), given)[0]

    few = scores[:1, :, : 64 // STRIDE]
    exact = result(ways["plain PyTorch"], few.double())
    errors = ", ".join(f"{name} {float((result(way, few) - exact).abs().max()):.1e}" for name, way in ways.items())
    note = f"at most from float64, {'per px' if gradient else 'px'}: {errors}"
    return note, {name: partial(result, way, scores) for name, way in ways.items()}


class Training:
    """Training steps of a PSMNet on random crops that stay in the device's memory."""

    def __init__(self, model: PSMNet, batch: int, crop: tuple[int, int]) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)
        self.pair = torch.randn(2, batch, 3, *crop, device=self.device)
        self.target = torch.rand(batch, *crop, device=self.device) * (model.max_disparity / 2) + 1

    def outputs(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The disparities of each hourglass, (B, H, W) px."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            outputs: tuple[Tensor, ...] = self.model(*self.pair)
        return outputs

    def loss(self, dtype: torch.dtype) -> Tensor:
        """The sum of the outputs' losses."""
        constant = self.target.new_ones(len(self.target))
        losses = [disparity_loss(output, self.target, "disparity", constant) for output in self.outputs(dtype)]
        return torch.stack(losses).sum()

    def step(self, dtype: torch.dtype, checkpointing: bool) -> None:
        """One step of the optimizer."""
        self.model.checkpointing = checkpointing
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(dtype).backward()
        self.optimizer.step()

    def contenders(self) -> Calls:
        """A whole step, by precision, and with gradient checkpointing."""
        return {
            "float32": partial(self.step, torch.float32, False),
            "bfloat16": partial(self.step, torch.bfloat16, False),
            "bfloat16, checkpointing": partial(self.step, torch.bfloat16, True),
        }

    def parts(self) -> Calls:
        """Parts of a step in bfloat16, the whole first."""
        model, (batch, height, width) = self.model, self.target.shape
        levels, width_of_features = model.max_disparity // STRIDE, model.width
        size = (height // STRIDE, width // STRIDE)
        left, right = (
            torch.randn(batch, width_of_features, *size, device=self.device)
            .bfloat16()
            .contiguous(memory_format=torch.channels_last)
            .requires_grad_()
            for _ in range(2)
        )
        scores = torch.randn(batch, levels, *size, device=self.device, requires_grad=True)

        def regression(regress: Callable[..., Tensor]) -> object:
            return torch.autograd.grad(regress(scores, model.max_disparity, (height, width), False).sum(), scores)

        def volume() -> object:
            built = cost_volume(left, right, levels)
            return torch.autograd.grad(built, (left, right), built.detach())

        return {
            "step": partial(self.step, torch.bfloat16, False),
            "forward": lambda: self.loss(torch.bfloat16),
            "forward and backward": lambda: self.loss(torch.bfloat16).backward(),
            "optimizer": self.optimizer.step,
            "regression of one output, forward and backward": partial(regression, regress_disparity),
            "the same in plain PyTorch": partial(regression, soft_argmin),
            "cost volume, forward and backward": volume,
        }


def _unwatched(call: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    with torch.inference_mode():
        return call(*arguments)
