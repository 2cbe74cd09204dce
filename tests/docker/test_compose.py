"""The compose file, read by docker-compose itself, and its commands, composed by Hydra."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.docker.dockerfile import DOCKERFILE, REPOSITORY, read_stages

COMPOSE_FILE = REPOSITORY / "docker" / "compose.yaml"


def services(**environment: str) -> dict[str, Any]:
    """The file's services as docker-compose understands them: schema checked, anchors merged, variables filled in."""
    docker_compose = Path(sys.executable).with_name("docker-compose")
    done = subprocess.run(
        [docker_compose, "--file", COMPOSE_FILE, "--profile", "*", "config", "--format", "json"],
        env={"PATH": os.defpath, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A variable without a value is a warning.
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


SERVICES = services()


def test_there_is_a_demo_a_training_and_an_evaluation_and_none_starts_unasked() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items()} == {
        name: [name] for name in ("demo", "train", "evaluate")
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_built_from_a_stage_of_the_dockerfile_and_named_after_it(name: str) -> None:
    build = SERVICES[name]["build"]
    assert Path(build["context"]) == REPOSITORY
    assert REPOSITORY / build["dockerfile"] == DOCKERFILE
    assert build["target"] in read_stages(DOCKERFILE)
    assert SERVICES[name]["image"] == f"pseudolidar:{build['target']}"


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_of_the_cuda_image_and_no_others_get_gpus(name: str) -> None:
    reserved = SERVICES[name].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    gpus = [device for device in reserved if device["driver"] == "nvidia" and "gpu" in device["capabilities"]]
    assert bool(gpus) == SERVICES[name]["image"].endswith(":cuda")
    on_gpu = any(word.endswith("device=cuda") for word in SERVICES[name]["command"])
    assert bool(gpus) == on_gpu


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert not service["user"].startswith("0") and "privileged" not in service
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert "environment" not in service
    # 64 MB, an engine's default, are too few for one batch of a loader's workers.
    assert int(service["shm_size"]) >= 2**30


def test_owner_data_and_outputs_are_the_callers_to_choose() -> None:
    train = services(RUN_AS="1234:100", DATA="/mnt/data", OUTPUTS="/mnt/outputs")["train"]
    assert train["user"] == "1234:100"
    mounts = {volume["target"]: volume for volume in train["volumes"]}
    assert mounts["/data"]["source"] == "/mnt/data" and mounts["/data"]["read_only"]
    assert mounts["/outputs"]["source"] == "/mnt/outputs" and not mounts["/outputs"].get("read_only")
    # A folder that the engine made would be root's: nobody else could write there.
    assert mounts["/outputs"]["bind"]["create_host_path"] is False


@pytest.mark.parametrize("name", SERVICES)
def test_a_command_is_one_of_the_scripts_with_settings_that_it_knows(name: str) -> None:
    program, command, *settings = SERVICES[name]["command"]
    assert program == "pseudolidar" and (REPOSITORY / f"scripts/{command}.py").is_file()
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        config = compose(command, settings)
    assert not OmegaConf.missing_keys(config)
    mounted = {volume["target"]: volume.get("read_only", False) for volume in SERVICES[name]["volumes"]}
    for setting in settings:
        key, _, value = setting.partition("=")
        if value.startswith("/"):
            top = f"/{value.split('/')[1]}"
            assert top in mounted, setting
            assert not (key == "output" and mounted[top]), setting
