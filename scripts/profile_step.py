"""Profile a training step: on a GPU the kernels per step and the share of idle time.

python scripts/profile_step.py                            the lecture's CNN on synthetic images of 3×32×32
python scripts/profile_step.py augmentation=lecture precision=bf16 compile=true batch_size=512

On a CPU it counts torch's operators instead. The GPU part has not been run on a GPU yet.
"""

import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.training.build import build_trainer, pick_device

STEPS = 20


def main() -> None:
    config = interpret(["dataset=cifar10", *sys.argv[1:]])
    if not isinstance(config, RunConfig):
        raise SystemExit("one run, without -m")
    device = pick_device(config.device)
    count = STEPS * config.batch_size
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    images = Images(pixels, torch.arange(count) % 10, tuple("0123456789")).to(device)
    trainer = build_trainer(config, images, images.select(torch.arange(min(100, count))), device)
    trainer.do_train()  # warms up, compiles
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as record:
        started = time.perf_counter()
        trainer.do_train()
        seconds = time.perf_counter() - started  # the epoch ends with a wait for the device
    events = [
        event for event in record.events() or [] if ("cuda" if on_gpu else "cpu") in str(event.device_type).lower()
    ]
    copies = [event for event in events if event.name.startswith(("Memcpy", "Memset"))]
    print(f"{seconds / STEPS * 1e3:.2f} ms a step on {device}, {(len(events) - len(copies)) / STEPS:.0f}", end=" ")
    if on_gpu:
        busy, reached = 0.0, 0.0
        for start, end in sorted((event.time_range.start, event.time_range.end) for event in events):
            busy += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        print(f"kernels a step, idle for {1 - busy / 1e6 / seconds:.0%} of the time")
    else:
        print("operators a step (with those that they call)")


if __name__ == "__main__":
    main()
