"""Pictures of digits: scikit-learn's, which come with it, or MNIST and street-view house numbers in their own files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, InputError, file_digest, read_npy, write_npy

DataName = Literal["digits", "mnist", "svhn"]

_FILES: Mapping[str, tuple[str, ...]] = {
    "digits": (),
    "mnist": tuple(
        f"MNIST/raw/{split}-{what}"
        for split in ("train", "t10k")
        for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
}
_BRIGHTEST = 16


@dataclass(frozen=True, eq=False)
class DigitImages:
    """Images, uint8 (N, C, H, W), the digit on each, int64 (N,), and whether it is for testing, bool (N,)."""

    images: NDArray[np.uint8]
    digits: NDArray[np.int64]
    test: NDArray[np.bool_]

    @classmethod
    def read(cls, folder: Path) -> "DigitImages":
        """Read the images from a folder of `WriteImages`."""
        arrays = (read_npy(folder / f"{name}.npy", f"the data set's {name}") for name in ("images", "digits", "test"))
        return cls(*arrays)


@dataclass(frozen=True)
class WriteImages:
    """The stage that writes a data set for the systems that are trained and tested on it.

    `root` is where torchvision looks for the files of `data`, None for "digits"; InputError for one without the other.
    """

    data: DataName
    root: Path | None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if (self.root is None) != (self.data == "digits"):
            expected = "null, since scikit-learn brings its digits" if self.root else f"the folder of {self.data}"
            raise InputError(f"root: found {self.root or 'null'}, expected {expected}")

    @cached_property
    def _digests(self) -> list[str]:
        digests = []
        for name in _FILES[self.data]:
            assert self.root is not None
            path = self.root / name
            if not path.is_file():
                raise FormatError(
                    path, "file", "none", f"a file of {self.data}, as torchvision keeps it; download=true"
                )
            digests.append(file_digest(path))
        return digests

    def settings(self) -> Mapping[str, Any]:
        """The data set's name and the digests of its files."""
        return {"data": self.data, "files": self._digests}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Write the arrays of `DigitImages` to files of their names, .npy."""
        found = scikit_digits() if self.root is None else read_images(self.data, self.root)
        for name, values in vars(found).items():
            write_npy(folder / f"{name}.npy", values)


def scikit_digits() -> DigitImages:
    """The 1,797 digits (8 x 8) of scikit-learn, the same half of each digit's for testing whatever the seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    images = np.rint(found.images * (255 / _BRIGHTEST)).astype(np.uint8)[:, None]
    _, test = train_test_split(np.arange(len(images)), test_size=0.5, stratify=found.target, random_state=0)
    return DigitImages(images, found.target.astype(np.int64), np.isin(np.arange(len(images)), test))


def read_images(data: DataName, root: Path, download: bool = False) -> DigitImages:
    """MNIST (28 x 28) or SVHN (32 x 32, colour) by torchvision, training images first.

    Raises:
        FormatError: no files, or others than the published ones.
    """
    # A second to import, which whoever has finished stages need not wait for.
    from torchvision.datasets import MNIST, SVHN

    images, digits = [], []
    for train in (True, False):
        try:
            if data == "svhn":
                svhn = SVHN(str(root), "train" if train else "test", download=download)
                images.append(svhn.data)
                digits.append(svhn.labels)
            else:
                mnist = MNIST(str(root), train, download=download)
                images.append(mnist.data.numpy()[:, None])
                digits.append(mnist.targets.numpy())
        except (RuntimeError, ValueError, AssertionError, OSError) as error:
            raise FormatError(root, "folder", str(error).splitlines()[0], f"the files of {data}") from error
    test = np.repeat([False, True], [len(digits[0]), len(digits[1])])
    return DigitImages(np.concatenate(images), np.concatenate(digits).astype(np.int64), test)
