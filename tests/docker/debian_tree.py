"""Runs a Dockerfile's own instructions in folders made by debootstrap: an image's content without a container engine.

A stage is a folder, FROM copies one, RUN is a shell in a chroot with its own mounts and process numbers, which vanish
with it. What differs from an image: Debian's own base tree instead of the published one, a layer is no unit of its own,
and the kernel's limits on containers are not there. Needs root, debootstrap and unshare (util-linux).
"""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from string import Template
from subprocess import CompletedProcess

from tests.docker.dockerfile import BuildStage, Instruction, sent_to_build

# Where a step sees files of this machine: on a file system of its own, so that none of them is left in the tree.
HOST = "/mnt"


@dataclass
class DebianTree:
    """A stage's folder, and what the instructions so far have set for the processes in it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], user: str | None = None, timeout_s: float = 600) -> CompletedProcess[str]:
        """What `docker run [--user USER] IMAGE COMMAND` does: the entry point, then the command."""
        return self.execute([*self.entrypoint, *command], self.environment, user or self.user, {}, timeout_s)

    def execute(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        user: str,
        mounts: Mapping[str, Path],
        timeout_s: float,
    ) -> CompletedProcess[str]:
        """Run a command in the tree.

        Args:
            command: its words.
            environment: all of its variables; HOME is added.
            user: UID:GID.
            mounts: by the path in the tree: what of this machine is seen there meanwhile.
            timeout_s: after this long it is killed, with all it started.
        """
        root = shlex.quote(str(self.root))
        lines = ["set -e", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        lines.append(f"mount -t tmpfs tmpfs {root}{HOST}")
        for path, outside in mounts.items():
            point = shlex.quote(f"{self.root}{path}")
            make = f"mkdir -p {point}" if outside.is_dir() else f"mkdir -p $(dirname {point}) && touch {point}"
            lines += [make, f"mount --bind {shlex.quote(str(outside))} {point}"]
        # An engine looks HOME up in the tree; a user id that isn't known there has this one.
        variables = {"HOME": "/root" if user.startswith("0:") else "/", **environment}
        inside = f"cd {self.workdir} && exec " + shlex.join(command)
        uid, _, gid = user.partition(":")
        lines.append(
            shlex.join(
                ["exec", "chroot", f"--userspec={uid}:{gid}", "--groups=", str(self.root), "/usr/bin/env", "-i"]
                + [f"{name}={value}" for name, value in variables.items()]
                + ["/bin/sh", "-c", inside]
            )
        )
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", "\n".join(lines)],
            capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip


class TreeBuilder:
    """Builds a Dockerfile's stages as trees in one folder.

    Args:
        stages: of the Dockerfile, by name.
        folder: where the trees are made.
        context: the checkout.
        ignore: the lines of its .dockerignore.
        arguments: as of `--build-arg`.
    """

    def __init__(
        self,
        stages: Mapping[str, BuildStage],
        folder: Path,
        context: Path,
        ignore: list[str],
        arguments: Mapping[str, str],
    ) -> None:
        self._stages = stages
        self._folder = folder
        self._context = context
        self._ignore = ignore
        self._arguments = arguments
        self._trees: dict[str, DebianTree] = {}

    def build(self, target: str) -> DebianTree:
        """The tree of a stage, made now with all it needs if it isn't there."""
        if target in self._trees:
            return self._trees[target]
        stage = self._stages[target]
        root = self._folder / target
        if stage.base in self._stages:
            base = self.build(stage.base)
            subprocess.run(["cp", "--archive", base.root, root], check=True)
            tree = dataclasses.replace(base, root=root, environment=dict(base.environment))
        else:
            tree = self._debian(stage.base, root)
        arguments: dict[str, str] = {}
        for instruction in stage.instructions:
            self._carry_out(instruction, tree, arguments)
        self._trees[target] = tree
        return tree

    def _debian(self, image: str, root: Path) -> DebianTree:
        release = re.match(r"debian:([a-z]+)-", image)
        assert release, f"expected a base debian:RELEASE-..., found {image}"
        # debootstrap mounts /proc meanwhile; among mounts of its own, none is left if it is stopped.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", release[1], str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return DebianTree(root, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})

    def _carry_out(self, instruction: Instruction, tree: DebianTree, arguments: dict[str, str]) -> None:
        value = instruction.value
        match instruction.name:
            case "ARG":
                name, _, default = value.partition("=")
                arguments[name] = self._arguments.get(name, default)
            case "ENV":
                for setting in shlex.split(value):
                    name, _, text = setting.partition("=")
                    tree.environment[name] = Template(text).substitute(tree.environment)
            case "WORKDIR":
                tree.workdir = value
                (tree.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                tree.user = value
            case "ENTRYPOINT":
                tree.entrypoint = instruction.words()
            case "HEALTHCHECK":
                tree.health = Instruction("CMD", {}, value.removeprefix("CMD").strip(), instruction.line).words()
            case "COPY":
                self._copy(instruction, tree)
            case "RUN":
                self._run(instruction, tree, arguments)
            case "CMD" | "LABEL":
                pass
            case other:
                raise ValueError(
                    f"Dockerfile, line {instruction.line}: found {other}, which this builder does not know"
                )

    def _run(self, instruction: Instruction, tree: DebianTree, arguments: Mapping[str, str]) -> None:
        pip_variables, mounts = pip_settings_of_this_machine()
        for flag in instruction.flags.get("mount", ()):
            settings = dict(part.partition("=")[::2] for part in flag.split(","))
            assert settings["type"] == "cache", f"line {instruction.line}: {flag}"
            cache = self._folder / "caches" / settings["id"]
            cache.mkdir(parents=True, exist_ok=True)
            mounts[settings["target"]] = cache
        environment = {**pip_variables, **arguments, **tree.environment}
        done = tree.execute(["/bin/sh", "-c", instruction.value], environment, tree.user, mounts, timeout_s=3600)
        if done.returncode:
            raise RuntimeError(
                f"line {instruction.line}: {instruction.value}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            )

    def _copy(self, instruction: Instruction, tree: DebianTree) -> None:
        *sources, target = instruction.words()
        place = tree.root / str(PurePosixPath(tree.workdir) / target).lstrip("/")
        if "from" in instruction.flags:
            origin = self.build(instruction.flags["from"][0]).root
            for source in sources:
                # Hard links: gigabytes of packages, which nothing here writes to.
                place.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "--archive", "--link", origin / source.lstrip("/"), place], check=True)
            return
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=self._context, check=True, capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip
        paths = [self._context / name for name in listed if (self._context / name).is_file()]
        for path in sent_to_build(self._context, paths, self._ignore):
            name = path.relative_to(self._context)
            for source in sources:
                if source == ".":
                    copied = place / name
                elif name.is_relative_to(source):
                    copied = place / (name.relative_to(source) if (self._context / source).is_dir() else name.name)
                else:
                    continue
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copied)


def pip_settings_of_this_machine() -> tuple[dict[str, str], dict[str, Path]]:
    """What of this machine an installation step needs to reach the mirrors as commands here do.

    Returns:
        pip's configuration (an index, certificates, a proxy) as the variables that say the same, with local paths as
        the step sees them; and by those paths what lies there, with the name servers.
    """
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout
    # Lines such as global.cert='/etc/...' and :env:.find-links='...'.
    settings = re.findall(r"\.([a-z-]+)='(.*)'$", listed, flags=re.MULTILINE)
    variables = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings}
    for name in ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if name in os.environ:
            variables[name] = os.environ[name]
    mounts = {path: Path(path).resolve() for path in ("/etc/resolv.conf", "/etc/hosts") if Path(path).exists()}
    for name, value in variables.items():
        words = []
        for word in value.split():
            scheme, path = ("file://", word.removeprefix("file://")) if word.startswith("file:///") else ("", word)
            if path.startswith("/") and Path(path).exists():
                # The pages of an index on disk name files that lie beside them.
                needed = Path(path).parent if scheme else Path(path)
                mounts[f"{HOST}{needed}"] = needed.resolve()
                path = f"{HOST}{path}"
            words.append(scheme + path)
        variables[name] = " ".join(words)
    return variables, mounts
