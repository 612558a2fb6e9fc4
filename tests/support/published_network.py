"""A small autoencoder of the published structure in PyTorch, written from the formulas of docs/methods/autoencoder.md
and independent of src/: random weights, a checkpoint as PyTorch Lightning writes it, and what the network answers.

usage: python published_network.py FOLDER
writes FOLDER/published.ckpt and FOLDER/answers.safetensors
"""

import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

CHANNELS = 32
MULTIPLIERS = (1, 2, 2)
ENCODER_BLOCKS = 1
DECODER_BLOCKS = 2
GROUPS = 32
WORDS, TOKEN_CHANNELS = 400, 24
STRIDES = (16, 4, 1)
SIDE = 128
CANDIDATES = ([3], [3, 17, 250], [3, 17, 250, 11, 399])  # of the levels, for every image


def norm(channels):
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class Residual(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.norm1, self.conv1 = norm(before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = norm(after), nn.Conv2d(after, after, 3, padding=1)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x):
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        normed = self.norm(x)
        query, key, value = (layer(normed).flatten(2) for layer in (self.q, self.k, self.v))
        weights = torch.einsum("bcq,bck->bqk", query, key).div(x.shape[1] ** 0.5).softmax(2)
        mixed = torch.einsum("bqk,bck->bcq", weights, value).reshape(x.shape)
        return x + self.proj_out(mixed)


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Residual(channels, channels), Attention(channels), Residual(channels, channels)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Resampling(nn.Module):
    def __init__(self, channels, is_down):
        super().__init__()
        self.is_down = is_down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if is_down else nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        if self.is_down:
            return self.conv(functional.pad(x, (0, 1, 0, 1)))
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    def __init__(self, before, after, num_blocks):
        super().__init__()
        self.block = nn.ModuleList(Residual(before if i == 0 else after, after) for i in range(num_blocks))
        self.attn = nn.ModuleList()

    def forward(self, x):
        for block in self.block:
            x = block(x)
        return x


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [CHANNELS * m for m in MULTIPLIERS]
        self.conv_in = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.down = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level(widths[i - 1] if i else CHANNELS, width, ENCODER_BLOCKS)
            if i + 1 < len(widths):
                level.downsample = Resampling(width, True)
            self.down.append(level)
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), nn.Conv2d(widths[-1], widths[-1], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        return self.conv_out(functional.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [CHANNELS * m for m in MULTIPLIERS]
        self.conv_in = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        levels = []
        before = widths[-1]
        for i in reversed(range(len(widths))):
            level = Level(before, widths[i], DECODER_BLOCKS)
            if i > 0:
                level.upsample = Resampling(widths[i], False)
            levels.insert(0, level)
            before = widths[i]
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = norm(CHANNELS), nn.Conv2d(CHANNELS, 1, 3, padding=1)

    def forward(self, x):
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(functional.silu(self.norm_out(x)))


class Quantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, TOKEN_CHANNELS)

    def forward(self, z):
        """zq, tokens and inputs per level, the published commitment, the mean over the batch included."""
        height, width = z.shape[2:]
        words = self.embedding.weight
        masks = []
        for stride in STRIDES:
            offset = max(STRIDES[0] // 2 - 1, 0) % stride
            mask = torch.zeros(height, width, dtype=torch.bool)
            mask[offset::stride, offset::stride] = True
            masks.append(mask)
        final_count = sum(mask.to(z.dtype) for mask in masks)
        residual, chosen = z, torch.zeros_like(z)
        tokens, inputs, commitment = [], [], 0.0
        for mask in masks:
            at = residual[:, :, mask].transpose(1, 2)  # B x positions x C
            distances = (at.unsqueeze(2) - words).square().sum(3)
            token = distances.argmin(2)
            tokens.append(token)
            inputs.append(at)
            embedded = torch.zeros_like(z)
            embedded[:, :, mask] = words[token].transpose(1, 2)
            residual = residual + mask * (z - embedded)
            chosen = chosen + embedded
            # The published code divides by the number of levels that hold a position in the end, at every level.
            distance = (chosen / final_count - z).square() * mask
            commitment = commitment + distance.mean()
        return chosen / final_count, tokens, inputs, commitment


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        latent = CHANNELS * MULTIPLIERS[-1]
        self.encoder, self.decoder, self.quantize = Encoder(), Decoder(), Quantizer()
        self.quant_conv, self.post_quant_conv = nn.Conv2d(latent, TOKEN_CHANNELS, 1), nn.Conv2d(TOKEN_CHANNELS, latent, 1)

    def encode(self, x):
        return self.quant_conv(self.encoder(x))


def semantic_loss(inputs, words):
    """Mean over images, levels, positions, candidates of -log softmax of minus the squared distance."""
    losses = []
    for at, candidates in zip(inputs, CANDIDATES):
        distances = (at.unsqueeze(2) - words).square().sum(3)
        log_shares = (-distances).log_softmax(2)
        losses.append(-log_shares[:, :, candidates].mean(dim=(1, 2)))
    return torch.stack(losses).mean()


def stage_1_gradient(network, latents):
    """Of commitment and semantic loss together, with respect to the latents."""
    z = latents.clone().requires_grad_()
    _, _, inputs, commitment = network.quantize(z)
    loss = commitment + semantic_loss(inputs, network.quantize.embedding.weight.detach())
    return torch.autograd.grad(loss, z)[0]


def stage_2_gradient(network, denoised, normal_dose):
    """Of both LEDA terms together, with respect to the denoised image; tokens pass it straight through."""
    image = denoised.clone().requires_grad_()
    z, reference = network.encode(image), network.encode(normal_dose).detach()
    tokens = z + (network.quantize(z)[0] - z).detach()
    loss = functional.mse_loss(tokens, network.quantize(reference)[0].detach()) + functional.mse_loss(z, reference)
    return torch.autograd.grad(loss, image)[0]


class LightningCallback:
    """Lightning keeps objects of its own in a checkpoint; who reads one need not have it installed."""

    def __init__(self):
        self.best = 0.5


def main():
    folder = Path(sys.argv[1])
    torch.manual_seed(7)
    network = Autoencoder().double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        images = torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64)
        images = functional.avg_pool2d(images, 9, 1, 4) + 0.3 * torch.rand_like(images)
        # Words where the latents are, so that many are chosen.
        latents = network.encode(images)
        spread = latents.transpose(0, 1).flatten(1)
        noise = torch.randn(WORDS, TOKEN_CHANNELS, dtype=torch.float64)
        network.quantize.embedding.weight.copy_(spread.mean(1) + noise * spread.std(1))
        network.float().double()  # what the file holds is float32
        latents = network.encode(images)
        zq, tokens, inputs, commitment = network.quantize(latents)
        decoded = network.decoder(network.post_quant_conv(zq))
        answers = {"images": images, "latents": latents, "zq": zq, "decoded": decoded, "commitment": commitment,
                   "semantic": semantic_loss(inputs, network.quantize.embedding.weight),
                   "leda_token": functional.mse_loss(zq[0], zq[1]),
                   "leda_feature": functional.mse_loss(latents[0], latents[1])}
        # The nearest word and the next: rounding in single precision must not choose between them.
        distances = [(at.unsqueeze(2) - network.quantize.embedding.weight).square().sum(3) for at in inputs]
        nearest = [distance.topk(2, dim=2, largest=False).values for distance in distances]
        answers["smallest_margin"] = torch.stack([(pair[..., 1] - pair[..., 0]).min() for pair in nearest]).min()
        for level, token in enumerate(tokens):
            answers[f"tokens_{level + 1}"] = token
    answers["latent_gradient"] = stage_1_gradient(network, latents)
    answers["image_gradient"] = stage_2_gradient(network, images[:1], images[1:])
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in answers.items()},
                                folder / "answers.safetensors")
    state = {name: tensor.float() for name, tensor in network.state_dict().items()}
    state["loss.discriminator.main.0.weight"] = torch.zeros(4, 1, 4, 4)
    state["loss.perceptual_loss.lin0.model.1.weight"] = torch.zeros(1, 64, 1, 1)
    torch.save({"state_dict": state, "epoch": 100, "global_step": 161600, "callbacks": {"x": LightningCallback()},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}]}, folder / "published.ckpt")


if __name__ == "__main__":
    main()
