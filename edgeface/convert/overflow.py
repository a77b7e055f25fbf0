"""What does not fit float16: activations beyond its largest number become infinite on a GPU that computes in it.

Weights that do not fit are seen in the file itself (`edgeface.convert.gate`); activations only on faces, so the file is
run on some, every tensor kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeface.card import split_card
from edgeface.quantize.tflite_graph import keras_layer

FLOAT16_MAX = 65504.0


def activation_overflow(path: str | Path, crops: np.ndarray) -> tuple[str, ...]:
    """The tensors of a float file that leave float16's range on one of the crops (N, S, S, C) uint8, by name and layer.

    Sums inside an operator may overflow before its result does; a result that fits is all that can be seen here.

    Args:
        path: a float `.tflite` file.
        crops: (N, S, S, C) uint8.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content = split_card(Path(path).read_bytes(), path)[0]
    # Without the default delegate: it does not give out the tensors between its operators.
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    # Tensors without a name are the interpreter's own scratch.
    floats = [d for d in interpreter.get_tensor_details() if d["dtype"] == np.float32 and d["name"]]
    largest: dict[int, float] = {}
    for crop in crops:
        interpreter.set_tensor(image["index"], crop[None].astype(image["dtype"]))
        interpreter.invoke()
        for detail in floats:
            try:
                values = interpreter.get_tensor(detail["index"])
            except ValueError:  # a tensor that no operator makes
                continue
            if values.size:
                # NaN counts as overflow: it is what comes of infinities.
                high = float(np.abs(np.nan_to_num(values, nan=np.inf)).max())
                largest[detail["index"]] = max(largest.get(detail["index"], 0.0), high)
    names = {d["index"]: d["name"] for d in floats}
    return tuple(
        f"activation {names[i]!r} of layer {keras_layer(names[i])} reaches {high:.4g}, beyond float16's {FLOAT16_MAX:g}"
        for i, high in sorted(largest.items())
        if high > FLOAT16_MAX
    )
