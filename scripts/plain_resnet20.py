"""ResNet-20 in plain torch, without a line of this program: what `model=resnet20` is compared with.

FOLDER holds train/<class>/* and val/<class>/*, images of 32×32. The same by this program, for equal accuracies within
their noise:

    python -m trainer -m dataset=image_folder data_dir=FOLDER dataset.validation=folder model=resnet20 \
        normalization=batch optimizer=nesterov scheduler=one_cycle augmentation=[flip,crop] lr=0.1 weight_decay=5e-4 \
        weight_decay_scope=all batch_size=128 epochs=6 validate_every=6 seed=0,1,2
"""

import argparse
import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


class Block(nn.Module):
    """Two convolutions and a shortcut, which adds channels of zeros where they double."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added)))


def resnet20(classes: int = 10) -> nn.Module:
    """Return the network of He et al. 2016, section 4.2, with shortcuts of option A."""
    blocks = [Block(16, 16, 1) for _ in range(3)]
    blocks += [Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1)]
    blocks += [Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def read(folder: str) -> tuple[Tensor, Tensor]:
    """Return images [N, 3, 32, 32] from 0 to 1, and their labels."""
    pairs = list(ImageFolder(folder, v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])))
    return torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])


def train(seed: int, epochs: int, batch: int, lr: float, data: tuple[tuple[Tensor, Tensor], ...]) -> float:
    """Return the validation accuracy of one run after its last epoch."""
    (images, labels), (held_out, answers) = data
    torch.manual_seed(seed)
    model = resnet20().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * -(-len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    augment = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4)])
    mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    for epoch in range(epochs):
        model.train()
        for chosen in torch.randperm(len(images)).split(batch):
            pixels = torch.stack([augment(image) for image in images[chosen]])
            optimizer.zero_grad()
            loss = F.cross_entropy(model((pixels - mean) / std), labels[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"seed {seed}, epoch {epoch + 1}: loss of the last batch {loss.item():.3f}", flush=True)
    model.eval()
    with torch.no_grad():
        parts = [model((part - mean) / std).argmax(1) for part in held_out.split(500)]
    return (torch.cat(parts) == answers).float().mean().item()


def main() -> None:
    """Train one run for each seed and print their accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    data = tuple(read(f"{given.folder}/{part}") for part in ("train", "val"))
    found = [train(seed, given.epochs, given.batch, given.lr, data) for seed in given.seeds]
    spread = f" ± {statistics.stdev(found):.2%}" if len(found) > 1 else ""
    print(f"validation accuracy {statistics.mean(found):.2%}{spread}: {', '.join(f'{each:.2%}' for each in found)}")


if __name__ == "__main__":
    main()
