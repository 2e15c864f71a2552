"""Tracer: runs beside a forward pass and knows which channel every element of a tensor is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autoprune.families.tracing.call import Call
from autoprune.families.tracing.found import Found, Role, UsedSize
from autoprune.families.tracing.ids import FIXED, NONE
from autoprune.families.tracing.shadows import channels_along, compact, line, together, varying
from autoprune.families.tracing.sizes import Attribute, Formula, Rows, TracedSize

Rule = Callable[["Tracer", Call], "Tensor | list[Tensor] | None"]
"""What an operation does to shadows: the answers' shadows (or what expands to them); None where it
cannot be followed, so that all it reads must stay."""


class Tracer(TorchFunctionMode):
    """Follows channels while it is active.

    Every tensor that holds channels has a shadow: int64, of its shape, each element the number of
    its channel, FIXED or NONE. An operation without a rule makes all it reads FIXED: that prunes
    less, never wrongly.

    Args:
        model: A copy of its own: hooks and sizes stay in it.
        layers: Name of a function that takes weights -> its rule.
        operations: Name of any other function -> its rule.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, Rule], operations: Mapping[str, Rule]
    ) -> None:
        super().__init__()
        self.found = Found()
        self.layers, self.operations = layers, operations
        self._named = {id(t): name for name, t in _tensors(model)}
        self._parameters = {id(parameter) for parameter in model.parameters()}
        self._layers = {
            id(module.weight)
            for module in model.modules()
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        }
        self._makers: dict[int, str] = {}  # a convolution's output -> its module
        self._shadows: dict[int, tuple[Tensor, Tensor]] = {}  # the tensor too: ids are used again
        self._within = [""]
        for name, module in model.named_modules():
            self._watch(name, module)

    def _watch(self, name: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: self._within.append(name))
        module.register_forward_hook(lambda *_: (self._within.pop(), None)[1])
        if _splits(module):  # what exporters run; it names its sizes
            vars(module)["forward"] = module.forward_split
        if type(module).__module__.startswith("torch."):
            return
        for key, value in vars(module).items():
            if key in ("i", "np", "f", "training"):
                continue
            if type(value) is int:
                vars(module)[key] = self._attribute((name, key, None), value)
            elif isinstance(value, list) and value and all(type(each) is int for each in value):
                at = enumerate(value)
                vars(module)[key] = [self._attribute((name, key, n), each) for n, each in at]

    def _attribute(self, attribute: Attribute, value: int) -> TracedSize:
        return TracedSize.make(value, self._used, formula=Formula(value, attribute))

    def _used(self, size: TracedSize) -> None:
        if size.formula is not None:
            self.found.numbers |= size.formula.attributes()
        for row in size.rows or ():
            self.freeze(row, "its number of channels is used as a number")

    # ---- what rules ask and tell

    @property
    def where(self) -> str:
        """The module that runs."""
        return self._within[-1]

    def name_of(self, tensor: Tensor) -> str | None:
        """A parameter's or buffer's name; None for any other tensor."""
        return self._named.get(id(tensor))

    def shadow(self, tensor: Any) -> Tensor | None:
        """A tensor's shadow; None if it holds no channels.

        The elements of a vector that is a parameter, used outside of a layer, are channels.
        """
        if not isinstance(tensor, Tensor):
            return None
        if id(tensor) in self._shadows:
            return self._shadows[id(tensor)][1]
        if id(tensor) in self._parameters and tensor.ndim == 1 and len(tensor) > 1:
            numbers = self.found.ids.new(len(tensor))
            self.found.places[self._named[id(tensor)], 0] = numbers, "rides"
            self.dye(tensor, numbers)
            return numbers
        return None

    def is_layers(self, weight: Tensor) -> bool:
        """Whether it is the weight of a convolution layer, which surgery knows how to cut."""
        return id(weight) in self._layers

    def note_maker(self, weight: Tensor, out: Tensor) -> None:
        """A layer's convolution gave this."""
        name = self.name_of(weight)
        if name is not None:
            self._makers[id(out)] = name.rpartition(".")[0]

    def note_norm(self, given: Tensor, statistics: Tensor | None) -> None:
        """A batch norm reads this; where it is a convolution's output, the two belong together."""
        name, maker = (
            None if statistics is None else self.name_of(statistics),
            self._makers.get(id(given)),
        )
        if name is not None and maker is not None:
            self.found.norms[maker] = name.rpartition(".")[0]

    def dye(self, tensor: Tensor, shadow: Tensor) -> None:
        """Give a tensor its shadow."""
        self._shadows[id(tensor)] = tensor, shadow.expand(tensor.shape)

    def channels(self, shadow: Tensor, axis: int) -> Tensor:
        """One channel for each position of an axis; what differs along others must stay."""
        numbers, mixed = channels_along(shadow, axis)
        if len(mixed):
            self.freeze(mixed, "its channels lie along more than one axis")
        return numbers

    def place(self, tensor: Tensor | None, axis: int, numbers: Tensor, role: Role) -> None:
        """Positions of a parameter's or buffer's axis belong to these channels."""
        if tensor is None:
            return
        name = self.name_of(tensor)
        if name is None:  # computed in the forward pass: it cannot be cut
            self.freeze(numbers, "meets weights that are computed")
        elif (name, axis) in self.found.places:
            self.unite(self.found.places[name, axis][0], numbers, "shares a weight")
        else:
            self.found.places[name, axis] = numbers, role

    def made(self, tensor: Tensor, axis: int) -> Tensor:
        """The channels that a weight makes along an axis; those of its first use."""
        name = self.name_of(tensor)
        if name is None:
            return torch.zeros(tensor.shape[axis], dtype=torch.int64)
        if (name, axis) not in self.found.places:
            numbers = self.found.ids.new(tensor.shape[axis])
            self.found.places[name, axis] = numbers, "makes"
        return self.found.places[name, axis][0]

    def unite(self, first: Tensor, second: Tensor, why: str = "meets a fixed channel") -> None:
        """Channels at equal places go together."""
        self.found.ids.unite(*together(first, second), self._located(why))

    def freeze(self, numbers: Any, why: str) -> None:
        """Channels that must stay."""
        small = compact(numbers) if isinstance(numbers, Tensor) else numbers
        self.found.ids.freeze(small, self._located(why))

    def balance(self, parts: Sequence[Tensor]) -> None:
        """As many channels must stay in each part."""
        self.found.balances.append(tuple(tuple(part.flatten().tolist()) for part in parts))

    def takes_size(self, shadow: Tensor, axis: int, size: Any, operation: str) -> None:
        """An operation was told that an axis of its answer has this size."""
        changing = varying(shadow)
        traced = size if isinstance(size, TracedSize) else None
        if axis not in changing and traced is not None and traced.formula is not None:
            rows: Rows = ((FIXED,),) * shadow.shape[axis]
        elif axis not in changing or (traced is None and size == -1):
            return
        else:
            rows = line(shadow, axis, changing)
        if traced is not None and traced.rows is not None and traced.exact:
            if traced.rows != rows:
                self.found.balances.append((sum(traced.rows, ()), sum(rows, ())))
        elif traced is not None and traced.formula is not None:
            where = self._located(operation)
            self.found.sizes.append(UsedSize(traced.formula, rows, where))
        else:
            self.freeze(shadow, f"{operation} with a size that follows from no attribute")

    def _located(self, what: str) -> str:
        return f"{what} @ {self.where}" if self.where else what

    # ---- what torch calls

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs, name = kwargs or {}, func.__name__
        if name == "__get__":
            name = _property(func)
        if name in ("shape", "size", "__len__"):
            return self._size(name, args, kwargs)
        if name not in _TAKE_SIZES:
            for size in _sizes((*args, *kwargs.values())):
                size.use(size)
        call = Call(name, func, args, kwargs, _answer(name, func, args, kwargs))
        if name not in _HARMLESS:
            self._follow(call)
        return call.out

    def _follow(self, call: Call) -> None:
        if call.name in self.layers:
            rule, dyed = self.layers[call.name], [t for t in call.given if id(t) in self._shadows]
        else:
            rule = self.operations.get(call.name, _unknown)
            dyed = [tensor for tensor in call.given if self.shadow(tensor) is not None]
        if not dyed:
            return
        try:
            made = rule(self, call) if call.outs else None
        except Exception:  # an unusual way to call it: as if it were not known
            made = None
        if made is None:
            for tensor in dyed:
                shadow = self.shadow(tensor)
                assert shadow is not None
                self.freeze(shadow, f"nothing is known of {call.name}")
            made = [torch.tensor(FIXED)] * len(call.outs)
        made = made if isinstance(made, list) else [made]
        for tensor, shadow in zip(call.outs, made, strict=True):
            self.dye(tensor, shadow)

    def _size(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        tensor = args[0]
        shadow = self.shadow(tensor)
        sizes = torch.Size(tensor.shape)
        if shadow is not None:
            changing = varying(shadow)
            sizes = torch.Size(
                TracedSize.make(count, self._used, rows=line(shadow, axis, changing))
                if axis in changing
                else count
                for axis, count in enumerate(sizes)
            )
        if name == "__len__":
            if isinstance(sizes[0], TracedSize):  # Python makes a mere number of it
                sizes[0].use(sizes[0])
            return sizes[0]
        axis = args[1] if len(args) > 1 else kwargs.get("dim")
        return sizes if axis is None else sizes[axis]


_HARMLESS = frozenset(
    {
        "dim", "ndim", "device", "dtype", "layout", "is_meta", "is_cuda", "is_sparse", "is_leaf",
        "is_quantized", "requires_grad", "requires_grad_", "grad_fn", "grad", "is_floating_point",
        "is_complex", "is_contiguous", "is_inference", "data_ptr", "element_size", "new_empty",
        "new_zeros", "new_ones", "new_full", "__repr__", "__hash__", "names", "backward",
        "__delete__", "_version",
    }
)  # fmt: skip
"""Functions of a tensor that neither read its channels nor count them."""


_TAKE_SIZES = frozenset(("view", "reshape", "split", "split_with_sizes", "tensor_split"))
"""Functions whose rules look at the sizes they are given."""


def _sizes(given: Sequence[Any]) -> Iterator[TracedSize]:
    """All traced sizes among arguments, those in lists and slices too."""
    for one in given:
        if isinstance(one, TracedSize):
            yield one
        elif isinstance(one, slice):
            yield from _sizes((one.start, one.stop, one.step))
        elif isinstance(one, (list, tuple)) and not isinstance(one, torch.Size):
            yield from _sizes(one)


def _answer(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """What the function gives; without values, batch norms take torch half of a forward pass."""
    if name == "batch_norm" and args:
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        if all(each.is_meta for each in given):
            return torch.empty_like(args[0])
    return func(*args, **kwargs)


def _splits(module: nn.Module) -> bool:
    """Whether a block has a `forward_split` that its class wrote beside its `forward`."""
    if "forward" in vars(module):
        return False
    owner = next((each for each in type(module).__mro__ if "forward" in vars(each)), nn.Module)
    return "forward_split" in vars(owner)


def _unknown(_: Tracer, __: Call) -> None:
    """The rule of what has none."""


def _property(getter: Any) -> str:
    """The name of a tensor's property by its getter."""
    return str(getattr(getattr(getter, "__self__", None), "__name__", "__get__"))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def nothing(shape: Sequence[int]) -> Tensor:
    """A shadow of no channels."""
    return torch.tensor(NONE).expand(*shape)
