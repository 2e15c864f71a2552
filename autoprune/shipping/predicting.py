"""The text of a bundle's predict.py: finds objects with the runtime alone."""

from __future__ import annotations

from autoprune.latency.ncnn_files import PARAM, WEIGHTS
from autoprune.latency.options import RuntimeOptions
from autoprune.latency.quantize_openvino import GRAPH
from autoprune.latency.runner import REPORTER, SILENT

_UNPACKED = """\
import tempfile, zipfile
FOLDER = Path(tempfile.mkdtemp())
zipfile.ZipFile(FILE).extractall(FOLDER)
"""
_LOADERS = {  # first package of the runtime, or suffix of its file -> how one is opened and run
    "onnxruntime": """\
session = onnxruntime.InferenceSession(str(FILE), providers=[{session_provider}])
run = lambda image: session.run(None, {{session.get_inputs()[0].name: image}})[0][0]""",
    "openvino": """\
PRECISION = {{"INFERENCE_PRECISION_HINT": "{hint}"}}
model = openvino.Core().compile_model(str(FILE), "{provider}", PRECISION)
run = lambda image: model(image)[0][0]""",
    ".openvino": _UNPACKED
    + """\
PRECISION = {{"INFERENCE_PRECISION_HINT": "{hint}"}}
model = openvino.Core().compile_model(str(FOLDER / "{graph}"), "{provider}", PRECISION)
run = lambda image: model(image)[0][0]""",
    ".ncnn": _UNPACKED
    + """\
net = ncnn.Net()
net.load_param(str(FOLDER / "{param}"))
net.load_model(str(FOLDER / "{weights}"))
def run(image):
    extractor, planes = net.create_extractor(), np.ascontiguousarray(image[0])
    extractor.input(net.input_names()[0], ncnn.Mat(planes))  # it does not copy them
    return np.array(extractor.extract(net.output_names()[0])[1])""",
    "torch": """\
{torch_model}
first = lambda outputs: outputs[0] if isinstance(outputs, (tuple, list)) else outputs
ready = lambda image: torch.from_numpy(image).to("{provider}", {dtype})
run = lambda image: first(model(ready(image)))[0].detach().float().cpu().numpy()""",
}

_ON_CPU = "model = torch.export.load(FILE).module()"
_ON_CUDA = """\
from torch.export.passes import move_to_device_pass
model = move_to_device_pass(torch.export.load(FILE), "{provider}").module()"""
_HINTS = {"fp16": "f16", "bf16": "bf16"}
_DTYPES = {"fp16": "torch.float16", "bf16": "torch.bfloat16"}

_UNREPORTED = {  # first package of the runtime -> what keeps it from reporting to its maker
    "onnxruntime": f'os.environ["{SILENT}"] = "1"  # it reports its use otherwise\n',
    "openvino": f'sys.modules["{REPORTER}"] = None  # it reports its use otherwise\n',
}

_PROGRAM = '''"""Draws boxes: python predict.py IMAGE ...; writes IMAGE-boxes.jpg here. {about}"""
import os
import sys
from pathlib import Path
import cv2
import numpy as np
{unreported}import {package}
FILE = Path(__file__).with_name("{file}")
{loader}
NAMES = {names}
HEIGHT, WIDTH = {imgsz}
for file in map(Path, sys.argv[1:]):
    picture = cv2.imread(str(file))
    if picture is None:
        print(f"{{file}}: got no picture that OpenCV can read", file=sys.stderr)
        sys.exit(2)
    scale = min(HEIGHT / picture.shape[0], WIDTH / picture.shape[1])  # letterbox
    height, width = (round(side * scale) for side in picture.shape[:2])
    top, left = (HEIGHT - height) // 2, (WIDTH - width) // 2
    padded = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    padded[top : top + height, left : left + width] = cv2.resize(picture, (width, height))
    image = padded[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    {decode}
    {draw}
    cv2.imwrite(f"{{file.stem}}-boxes.jpg", picture)
'''

_DECODE_LIST = """found = run(image)  # x1 y1 x2 y2 score class ..., already without doubles
    found = found[found[:, 4] > 0.25]
    boxes, scores, labels = found[:, :4], found[:, 4], found[:, 5].astype(int)"""
_DECODE_NMS = """found = run(image).T  # x y width height, a score for each class, ...
    scores, labels = found[:, 4 : 4 + len(NAMES)].max(1), found[:, 4 : 4 + len(NAMES)].argmax(1)
    corners = np.hstack([found[:, :2] - found[:, 2:4] / 2, found[:, 2:4]])
    apart = corners + labels[:, None] * np.array([[1e4, 1e4, 0, 0]])  # classes do not compete
    kept = np.array(cv2.dnn.NMSBoxes(apart.tolist(), scores.tolist(), 0.25, 0.7), int).ravel()
    scores, labels, boxes = scores[kept], labels[kept], corners[kept]
    boxes[:, 2:] += boxes[:, :2]"""
_DRAW = """for box, score, label in zip((boxes - [left, top] * 2) / scale, scores, labels):
        print(file.name, NAMES[label], f"{score:.2f}", *(f"{side:.0f}" for side in box))
        x1, y1, x2, y2 = (int(side) for side in box)
        cv2.rectangle(picture, (x1, y1), (x2, y2), (0, 200, 0), 2)
        cv2.putText(picture, NAMES[label], (x1, y1 - 4), 0, 0.5, (0, 200, 0), 1)"""
_DECODE_TURNED_LIST = """found = run(image)  # x y width height score class angle
    found = found[found[:, 4] > 0.25]
    scores, labels = found[:, 4], found[:, 5].astype(int)
    boxes = np.hstack([found[:, :4], found[:, -1:]])"""
_DECODE_TURNED = """found = run(image).T  # x y width height, a score for each class, angle
    scores, labels = found[:, 4 : 4 + len(NAMES)].max(1), found[:, 4 : 4 + len(NAMES)].argmax(1)
    boxes = np.hstack([found[:, :4], found[:, -1:]])
    apart = boxes[:, :2] + labels[:, None] * 1e4  # classes do not compete
    degrees = (boxes[:, 4] * 180 / np.pi).tolist()
    turned = list(zip(apart.tolist(), boxes[:, 2:4].tolist(), degrees))
    kept = cv2.dnn.NMSBoxesRotated(turned, scores.tolist(), 0.25, 0.7)
    kept = np.array(kept, int).ravel()
    scores, labels, boxes = scores[kept], labels[kept], boxes[kept]"""
_DRAW_TURNED = """for (x, y, w, h, angle), score, label in zip(boxes, scores, labels):
        centre = ((x - left) / scale, (y - top) / scale)
        corners = cv2.boxPoints((centre, (w / scale, h / scale), angle * 180 / np.pi))
        print(file.name, NAMES[label], f"{score:.2f}", *(f"{side:.0f}" for side in corners.ravel()))
        cv2.polylines(picture, [corners.astype(np.int32)], True, (0, 200, 0), 2)"""


def predict_program(
    file: str,
    options: RuntimeOptions,
    names: tuple[str, ...],
    task: str,
    end_to_end: bool,
    channels: int,
) -> str | None:
    """The program, for Python 3.9 and later with numpy, OpenCV and the runtime.

    Args:
        file: Name of the runtime's file, beside it.
        options: The runtime and image size.
        names: Class names, by class id.
        task: Of masks and keypoints it draws the boxes.
        end_to_end: Whether the file lists the objects, which need no NMS.
        channels: Of the images.

    Returns:
        None where there is none: of a runtime that it does not know, or images without colour.
    """
    known = (options.row.suffix, *options.row.packages[:1])
    loader = next((_LOADERS[each] for each in known if each in _LOADERS), None)
    if loader is None or channels != 3:
        return None
    turned = task == "obb"
    if end_to_end:
        decode = _DECODE_TURNED_LIST if turned else _DECODE_LIST
    else:
        decode = _DECODE_TURNED if turned else _DECODE_NMS
    about = {"segment": "Masks are not drawn.", "pose": "Keypoints are not drawn."}.get(task, "")
    package = options.row.packages[0]
    return _PROGRAM.format(
        package=package,
        unreported=_UNREPORTED.get(package, ""),
        about=f"Needs numpy, opencv-python, {package}. {about}".strip(),
        file=file,
        loader=loader.format(
            **_of_precision(options),
            graph=GRAPH,
            param=PARAM,
            weights=WEIGHTS,
        ),
        names=repr(list(names)),
        imgsz=", ".join(map(str, options.imgsz)),
        decode=decode,
        draw=_DRAW_TURNED if turned else _DRAW,
    )


def _of_precision(options: RuntimeOptions) -> dict[str, str]:
    """How the loaders name the device and what is computed in, as it was timed."""
    provider, precision = options.provider or options.row.provider, options.computes_in
    half = provider == "TensorrtExecutionProvider" and precision == "fp16"
    dtype = _DTYPES.get(precision, "torch.float32")
    torch_model = (_ON_CPU if provider == "cpu" else _ON_CUDA).format(provider=provider)
    return {
        "provider": provider,
        "session_provider": f'("{provider}", {{"trt_fp16_enable": "1"}})'
        if half
        else f'"{provider}"',
        "hint": _HINTS.get(precision, "f32"),
        "dtype": dtype,
        "torch_model": torch_model + (f".to({dtype})" if precision in _DTYPES else ""),
    }
