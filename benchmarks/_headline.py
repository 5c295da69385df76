"""The figure that a benchmark is run for, printed so that `make bench` can put all of them into one table."""

MARK = "=>"


def headline(what: str, value: float, aim: str = "", unit: str = "times") -> None:
    """Print one line; `aim` is such as `>= 2.5`, `< 0.3` or `92 to 98`, empty where the issue named none."""
    print(MARK, what, f"{value:.3g} {unit}", aim, _verdict(value, aim) if aim else "", sep="\t", flush=True)


def _verdict(value: float, aim: str) -> str:
    if " to " in aim:
        low, high = map(float, aim.split(" to "))
        return "met" if low <= value <= high else "missed"
    sign, bound = aim.split()
    held = {">=": value >= float(bound), "<=": value <= float(bound), "<": value < float(bound)}[sign]
    return "met" if held else "missed"
