"""Sprites as other hands would draw them: pasted anywhere on anything, outlined, flattened, without colour, as a line drawing.

An encoder that only met shaded pictures takes a drawing style it has never seen for another thing. Works on batches of tensors,
on any device; everything follows from the given generator.
"""

import torch
from torch.nn import functional as F

LUMINANCE = (0.299, 0.587, 0.114)


def pasted(
    sprites: torch.Tensor,
    side: int,
    generator: torch.Generator,
    smallest: float = 0.4,
    largest: float = 1.0,
    mirrored: torch.Tensor | None = None,
) -> torch.Tensor:
    """`(B, 4, S, S)` RGBA in 0..1 -> `(B, 4, side, side)` with colours premultiplied by alpha: each at another size, place and angle.

    The longer side becomes `smallest` to `largest` of the picture; `mirrored` `(B,)` says which may be flipped.
    """
    count, device = len(sprites), sprites.device
    draw = _uniform(generator, device)
    scale = draw(count, smallest, largest)
    # What would be smaller than half is halved first, or thin lines would fall between the samples.
    alpha = sprites[:, 3:]
    premultiplied = torch.cat([sprites[:, :3] * alpha, alpha], dim=1)
    if (scale.mean() * side).item() < 0.6 * sprites.shape[-1]:
        premultiplied = F.avg_pool2d(premultiplied, 2)
    angle = draw(count, -0.3, 0.3) * (draw(count, 0, 1) < 0.5)
    squeeze = torch.exp(draw(count, -0.15, 0.15))
    flip = torch.where((draw(count, 0, 1) < 0.5) & (mirrored if mirrored is not None else True), -1.0, 1.0)
    room = (1 - scale).clamp_min(0)
    x, y = draw(count, -1, 1) * room, draw(count, -1, 1) * room
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    across = torch.stack([flip * squeeze * cosine, flip * sine, -flip * (squeeze * cosine * x + sine * y)], dim=1)
    down = torch.stack([-sine, cosine / squeeze, sine * x - cosine / squeeze * y], dim=1)
    grid = F.affine_grid(torch.stack([across, down], dim=1), [count, 4, side, side], align_corners=False)
    return F.grid_sample(premultiplied, grid.to(premultiplied.dtype), align_corners=False).clamp(0, 1)


def restyled(things: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`(B, 4, S, S)` premultiplied RGBA: the first half as it was, the others each flattened, outlined, grey or in lines."""
    kept, things = things[: len(things) // 2], things[len(things) // 2 :]
    count, device = len(things), things.device
    draw = _uniform(generator, device)
    style = draw((count, 1, 1, 1), 0, 1)
    colours, alpha = things[:, :3], things[:, 3:]
    ink = draw((count, 1, 1, 1), 0, 0.25)
    edges = _edges(things, width=3 if float(draw(1, 0, 1)) < 0.35 else 1)
    levels = torch.where(draw((count, 1, 1, 1), 0, 1) < 0.5, 2.0, 4.0)
    flat = (colours * levels).round() / levels * alpha
    grey = (colours * colours.new_tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True).expand_as(colours)
    outlined = colours * (1 - edges) + ink * edges
    flat_outlined = flat * (1 - edges) + ink * edges
    with_edges = torch.maximum(alpha, edges)
    lines, filled = ink * edges, (1 - edges) * alpha + ink * edges  # on whatever ground, or filled with white
    for low, high, drawn, cover in (
        (0.00, 0.15, flat, alpha),
        (0.15, 0.35, outlined, with_edges),
        (0.35, 0.60, flat_outlined, with_edges),
        (0.60, 0.72, grey, alpha),
        (0.72, 0.85, filled, with_edges),
        (0.85, 1.01, lines, edges),
    ):
        chosen = (style >= low) & (style < high)
        colours, alpha = torch.where(chosen, drawn, colours), torch.where(chosen, cover, alpha)
    return torch.cat([kept, torch.cat([colours, alpha], dim=1)])


def grounds(count: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """`(count, 3, side, side)` plain, shaded, blotched and noisy grounds; two in five are nearly white."""
    draw = _uniform(generator, device)
    base = draw((count, 3, 1, 1), 0, 1)
    white = (draw(count, 0, 1) < 0.4)[:, None, None, None]
    base = torch.where(white, 1 - 0.06 * base, base)
    slope = draw((count, 3, 2, 2), -0.5, 0.5)
    blotches = draw((count, 3, 6, 6), -0.5, 0.5)
    noise = torch.randn(count, 3, side, side, generator=generator, device=device) * 0.08
    strength = draw((3, count, 1, 1, 1), 0, 1) * (draw((3, count, 1, 1, 1), 0, 1) < 0.35) * (~white)
    shaded = F.interpolate(slope, side, mode="bilinear", align_corners=True) * strength[0]
    blotched = F.interpolate(blotches, side, mode="bicubic", align_corners=False) * strength[1]
    return (base + shaded + blotched + noise * strength[2]).clamp(0, 1)


def recoloured(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`(B, 3, S, S)` lighter, darker, duller, tinted: colours of a screen, a print, a telephone's camera."""
    count, device = len(pictures), pictures.device
    draw = _uniform(generator, device)
    light, contrast = draw((count, 1, 1, 1), -0.12, 0.12), draw((count, 1, 1, 1), 0.75, 1.2)
    saturation, tint = draw((count, 1, 1, 1), 0.5, 1.4), draw((count, 3, 1, 1), 0.9, 1.1)
    grey = (pictures * pictures.new_tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
    changed = ((grey + (pictures - grey) * saturation) * tint - 0.5) * contrast + 0.5 + light
    return torch.where(draw((count, 1, 1, 1), 0, 1) < 0.6, changed.clamp(0, 1), pictures)


def _edges(things: torch.Tensor, width: int) -> torch.Tensor:
    """`(B, 1, S, S)`: 1 along contours, inner ones included, three pixels wide and `width - 1` more."""
    smooth = F.avg_pool2d(things, 3, stride=1, padding=1)
    across = F.pad(smooth[..., :, 2:] - smooth[..., :, :-2], (1, 1)).abs()
    down = F.pad(smooth[..., 2:, :] - smooth[..., :-2, :], (0, 0, 1, 1)).abs()
    change = (across + down).amax(1, keepdim=True)
    contour = ((change - 0.18) * 8).clamp(0, 1)
    return F.max_pool2d(contour, width, stride=1, padding=width // 2) if width > 1 else contour


def _uniform(generator: torch.Generator, device: torch.device):
    def draw(shape, low: float, high: float) -> torch.Tensor:
        shape = (shape,) if isinstance(shape, int) else shape
        return low + (high - low) * torch.rand(shape, generator=generator, device=device)

    return draw
