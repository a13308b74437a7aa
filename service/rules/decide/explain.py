"""How an award came about, as a sentence with numbers, units and sources.

Each rule's expressions become texts once, when it is compiled; an answer only fills in the
attributes. Showing is apart from paying: what was paid is given, never computed here.
"""

import operator as op
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from service.rules.cel.expression import Expression
from service.rules.cel.tree import Node, literal
from service.rules.decide.evaluate import Award
from service.rules.decide.grams import GRAM_NG
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import Attribute, Explain, Rulebook
from service.rules.language import schema
from service.rules.told import Told

Values = Mapping[str, object]
_Show = Callable[[Values], str]
_Decide = Callable[[Values], bool | None]

_STRENGTH = {"? :": 0, "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3,
             "in": 3, "+": 4, "-": 4, "*": 5, "/": 5}  # fmt: skip
_ATOM = 9
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": op.eq, "!=": op.ne, "<": op.lt, "<=": op.le, ">": op.gt, ">=": op.ge
}  # fmt: skip


class Carry(NamedTuple):
    """How an exact amount became grams: with what was carried from earlier that day."""

    before_ng: int
    exact_ng: int
    grams: int


class Awarded(NamedTuple):
    """What is told of an award; `times` is a campaign's, as ` x 2 Title`.

    `carries` are those of what it earned, saved, and earned times a campaign's, if worth telling.
    """

    saved_g: int
    energy_g: int
    cut_by: str | None
    times: str
    carries: tuple[Carry | None, ...]


def carries_of(award: Award) -> tuple[Carry | None, ...]:
    """The carries of what was earned, saved and multiplied; None for what was rounded alone."""
    earned = saved = multiplied = None
    before = award.carried_ng
    for key, used in award.sums:
        if key.counter.endswith("*"):
            multiplied = _told(before[2], used.earned_g, used.earned_rest_ng)
        else:
            earned = _told(before[0], used.earned_g, used.earned_rest_ng)
            saved = _told(before[1], used.saved_g, used.saved_rest_ng)
    return earned, saved, multiplied


def _told(before_ng: int, grams: int, rest_ng: int) -> Carry | None:
    if (before_ng or not grams) and (grams or rest_ng):
        return Carry(before_ng, grams * GRAM_NG + rest_ng, grams)
    return None


def explain_award(
    rulebook: Rulebook,
    attributes: Values | None,
    award: Award,
    reader: Reader | None = None,
) -> str:
    """Explain an award of this rulebook in the reader's language, but for the names of sources.

    Attributes are None when their person was erased.
    """
    reader = reader or Reader()
    rule, saved_g, energy_g = rulebook.rules.get(award.rule), award.saved_g, award.energy_g
    if attributes is None or rule is None:
        text = "{energy_g} g of energy and {saved_g} g CO2e saved; what was reported is erased"
        return reader.tell(text, energy_g=energy_g, saved_g=saved_g)
    limited_by = award.limited_by
    times, cut_by = "", limited_by and Told("the limit of {limit}", limit=limited_by)
    if award.campaign is not None:
        campaign = rulebook.campaigns[award.campaign]
        times = f" x {_number(float(campaign.times))} {reader.say(campaign.title)}"
        if limited_by == campaign.text:
            cut_by = Told("what was left of the campaign's {left_g} g", left_g=campaign.budget_g)
    told = Awarded(saved_g, energy_g, cut_by, times, carries_of(award))
    return rule.explain(attributes, told, reader)


def explainer(
    saves: float | Expression,
    earns: float | Expression | None,
    attributes: Mapping[str, Attribute],
    factors: Mapping[str, schema.Factor],
) -> Explain:
    """Prepare the explanation of one rule."""
    shower = _Shower(attributes, factors)
    show_saved = None if saves == 0 else shower.grams(saves)
    show_energy = show_saved if earns is None else shower.grams(earns)
    multiplies = saves if earns is None else earns
    show_factor = show_energy and shower.grams(multiplies, is_multiplied=True)
    sources = _sources(saves, factors)

    def explain(values: Values, award: Awarded, reader: Reader) -> str:
        saved_g, energy_g, cut_by, times, (earned, kept, multiplied) = award
        show = show_factor if times else show_energy
        energy = _with_carry(show(values) if show else "0 g", earned, reader)
        if times:
            energy = _with_carry((f"({energy})" if earned else energy) + times, multiplied, reader)
        told = multiplied if times else earned
        is_told = energy == f"{energy_g} g" or (told is not None and told.grams == energy_g)
        if cut_by is None and not is_told:
            energy += f" = {energy_g} g"
        energy = reader.units(energy)
        if cut_by is not None:
            text = ", cut to {energy_g} g by {cut_by}"
            energy += reader.tell(text, energy_g=energy_g, cut_by=cut_by)
        if earns is None:
            saved = f"{saved_g} g" if times else ""
        elif show_saved is None or (saved_g == 0 and not kept):
            return energy
        elif kept:
            saved = reader.units(_with_carry(show_saved(values), kept, reader, " CO2e"))
            return energy + reader.tell("; saves {saved}", saved=saved) + sources
        else:
            saved = show_saved(values)
            saved += "" if saved == f"{saved_g} g" else f" = {saved_g} g"
        if saved:
            energy += reader.tell("; saves {saved} CO2e", saved=reader.units(saved))
        return energy + sources

    return explain


def _with_carry(shown: str, carry: Carry | None, reader: Reader, of: str = "") -> str:
    """An amount with what was carried from earlier that day, what that made, and what is left."""
    if carry is None:
        return shown
    exact, before = _grams(carry.exact_ng), _grams(abs(carry.before_ng))
    after_ng = carry.before_ng + carry.exact_ng - carry.grams * GRAM_NG
    text = shown if shown == exact else f"{shown} = {exact}"
    if carry.before_ng > 0:
        text += reader.tell(", plus {before} carried on earlier that day", before=before)
    elif carry.before_ng:
        text += reader.tell(", less {before} rounded up earlier that day", before=before)
    text += f": {carry.grams} g{reader.tell(of) if of else ''}"
    if after_ng > 0:
        text += reader.tell(", {after} carried on", after=_grams(after_ng))
    return text


def _grams(exact_ng: int) -> str:
    return f"{exact_ng / GRAM_NG:.9g} g"


def _sources(saves: float | Expression, factors: Mapping[str, schema.Factor]) -> str:
    if not isinstance(saves, Expression):
        return ""
    used = [name.removeprefix("factors.") for name in saves.tree.names()]
    texts = [factors[name].source.partition(",")[0] for name in used if name in factors]
    return f" ({'; '.join(dict.fromkeys(texts))})" if texts else ""


class _Shower:
    """Turns syntax trees into functions that show them with an action's numbers filled in."""

    def __init__(
        self, attributes: Mapping[str, Attribute], factors: Mapping[str, schema.Factor]
    ) -> None:
        self._attributes = attributes
        self._factors = factors

    def grams(self, amount: float | Expression, *, is_multiplied: bool = False) -> _Show:
        """Show an amount: a lone number that multiplies attributes is grams a unit.

        Of one that a campaign multiplies a sum stands in brackets.
        """
        if not isinstance(amount, Expression):
            return _constantly(f"{_number(amount)} g")
        show, held = self._show(amount.tree, in_grams=True)
        return _in_brackets(show) if is_multiplied and held < _STRENGTH["*"] else show

    def _show(self, node: Node, *, in_grams: bool = False) -> tuple[_Show, int]:
        """Answer a function that shows this node, and how strongly it holds together."""
        value = literal(node)
        if value is not None:
            shown = _number(value) if isinstance(value, float) else str(value)
            return _constantly(shown + (" g" if in_grams else "")), _ATOM
        if node.kind == "name":
            return self._name(str(node.value)), _ATOM
        if node.operator == "? :":
            return self._choice(node, in_grams=in_grams)
        if len(node.nodes) == 2 and node.operator in _STRENGTH:
            return self._binary(node, in_grams=in_grams)
        inner = [self._show(child)[0] for child in node.nodes]
        before, after = f"{'not' if node.operator == '!' else node.operator}(", ")"
        if node.kind == "list":
            before, after = "[", "]"
        return lambda values: before + ", ".join(show(values) for show in inner) + after, _ATOM

    def _name(self, name: str) -> _Show:
        if name.startswith("factors."):
            factor = self._factors[name.removeprefix("factors.")]
            return _constantly(f"{_number(factor.value)} {factor.unit}")
        if name.startswith("_has_"):
            return _constantly(f"has({name.removeprefix('_has_')})")
        attribute = self._attributes.get(name)
        unit = f" {attribute.unit}" if attribute and attribute.unit else ""
        # steps are counted in steps: an attribute without a unit is its own.
        if attribute and not unit and attribute.type in {"number", "integer"}:
            unit = f" {name}"

        def show(values: Values) -> str:
            value = values.get(name)
            return name if value is None else f"{_number(value)}{unit}"

        return show

    def _binary(self, node: Node, *, in_grams: bool) -> tuple[_Show, int]:
        operator = node.operator
        strength = _STRENGTH[operator]
        literals = [isinstance(literal(child), float) for child in node.nodes]
        if operator in {"+", "-"}:
            gives_grams = [in_grams, in_grams]
        else:
            # Only one number among the terms of a product without factors is grams.
            has_factor = any(name.startswith("factors.") for name in node.names())
            lone = operator == "*" and in_grams and not has_factor
            gives_grams = [lone and literals[0], lone and literals[1] and not literals[0]]
        shows = []
        for child, grams, least in zip(
            node.nodes, gives_grams, (strength, strength + 1), strict=True
        ):
            show, held = self._show(child, in_grams=grams)
            shows.append(show if held >= least else _in_brackets(show))
        left, right = shows
        sign = "x" if operator == "*" else operator
        return lambda values: f"{left(values)} {sign} {right(values)}", strength

    def _choice(self, node: Node, *, in_grams: bool) -> tuple[_Show, int]:
        """Show only the branch that was taken; both, if that cannot be told from attributes."""
        asked, yes, no = node.nodes
        question, decide = self._show(asked)[0], _decider(asked)
        if_true = self._show(yes, in_grams=in_grams)[0]
        if_false = self._show(no, in_grams=in_grams)[0]

        def show(values: Values) -> str:
            verdict = decide(values)
            if verdict is None:
                return f"{question(values)} ? {if_true(values)} : {if_false(values)}"
            return if_true(values) if verdict else if_false(values)

        return show, _STRENGTH["? :"]


def _constantly(text: str) -> _Show:
    return lambda _: text


def _in_brackets(show: _Show) -> _Show:
    return lambda values: f"({show(values)})"


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return str(int(value)) if value == int(value) else repr(round(value, 6))


def _decider(node: Node) -> _Decide:
    """Prepare deciding a simple condition on attributes alone; None for what is not that simple."""
    given = node.value
    if isinstance(given, bool):
        return lambda _: given
    if node.kind == "name":
        return _flag(str(given))
    inner = [_decider(child) for child in node.nodes]
    if node.operator == "!":
        return lambda values: None if (verdict := inner[0](values)) is None else not verdict
    if node.operator in {"&&", "||"}:
        decisive = node.operator == "||"
        return lambda values: _joined([decide(values) for decide in inner], decisive=decisive)
    if node.operator not in _COMPARE:
        return lambda _: None
    compare, is_equality = _COMPARE[node.operator], node.operator in {"==", "!="}

    def decide(values: Values) -> bool | None:
        left, right = [_operand(child, values) for child in node.nodes]
        are_numbers = isinstance(left, int | float) and isinstance(right, int | float)
        are_texts = isinstance(left, str) and isinstance(right, str)
        return compare(left, right) if are_numbers or (are_texts and is_equality) else None

    return decide


def _flag(name: str) -> _Decide:
    asked = name.removeprefix("_has_")
    if asked != name:
        return lambda values: asked in values
    return lambda values: value if isinstance(value := values.get(name), bool) else None


def _joined(verdicts: Collection[bool | None], *, decisive: bool) -> bool | None:
    """Join by && (False decides) or || (True decides)."""
    if decisive in verdicts:
        return decisive
    return None if None in verdicts else not decisive


def _operand(node: Node, values: Values) -> object:
    return values.get(str(node.value)) if node.kind == "name" else literal(node)
