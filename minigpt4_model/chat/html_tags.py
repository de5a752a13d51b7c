"""HTML's elements, as far as a page of text, pictures and controls needs them: which there are, which end by themselves, which hold which.

Follows the content models of https://html.spec.whatwg.org, simplified where a browser forgives.
"""


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


VOID = _tags("area base br col embed hr img input link meta source track wbr")
# What HTML lets end by itself; a sloppy page that leaves these open is still valid.
MAY_STAY_OPEN = _tags("html head body p li dt dd option tr td th thead tbody tfoot colgroup")
KNOWN = _tags(
    """
    a abbr address article aside audio b base bdi bdo blockquote body br button canvas caption cite code col colgroup data datalist dd del
    details dfn dialog div dl dt em embed fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img
    input ins kbd label legend li link main map mark menu meta meter nav noscript object ol optgroup option output p picture pre progress q
    rp rt ruby s samp script search section select slot small source span strong style sub summary sup svg table tbody td template textarea
    tfoot th thead time title tr track u ul var video wbr
    """
)
# What a drawing (svg) is made of; these stand nowhere else.
DRAWN = _tags(
    """
    animate circle clippath defs ellipse filter g image line lineargradient marker mask path pattern polygon polyline radialgradient rect
    stop symbol text tspan use
    """
)
KNOWN |= DRAWN
# The first ends the second, where that is the innermost open element.
ENDS = {"li": {"li"}, "p": {"p"}, "dt": {"dt", "dd"}, "dd": {"dt", "dd"}, "option": {"option"}, "tr": {"tr", "td", "th"}}
ENDS |= {"body": {"head"}, "td": {"td", "th"}, "th": {"td", "th"}, "tbody": {"thead", "tr", "td", "th"}}
HEADINGS = _tags("h1 h2 h3 h4 h5 h6")
BLOCKS = HEADINGS | _tags(
    """
    address article aside blockquote details dialog div dl fieldset figure footer form header hgroup hr main menu nav ol p pre section
    table ul
    """
)
# These hold words and what stands in a line, no blocks.
LINES = HEADINGS | _tags("b button em i label small span strong summary u")
NEVER_IN_THEMSELVES = HEADINGS | _tags("a button figure footer form header hgroup label main nav select table textarea")
# What stands in these is text up to their own end tag.
RAW = _tags("script style")
_LIST = {"li", "script", "template"}
# What holds nothing else.
ONLY = {"ul": _LIST, "ol": _LIST, "menu": _LIST, "select": {"option", "optgroup", "hr"}, "optgroup": {"option"}, "tr": {"td", "th"}}
ONLY |= {"hgroup": {*HEADINGS, "p"}, "table": {"caption", "colgroup", "thead", "tbody", "tfoot", "tr"}, "dl": {"dt", "dd", "div"}}
ONLY |= dict.fromkeys(("thead", "tbody", "tfoot"), {"tr"})
ONLY |= dict.fromkeys(("option", "textarea", "title"), set())
# What stands nowhere else; "" is the page itself.
ONLY_IN = {"li": {"ul", "ol", "menu"}, "tr": {"table", "thead", "tbody", "tfoot"}, "dt": {"dl", "div"}, "dd": {"dl", "div"}}
ONLY_IN |= {"option": {"select", "optgroup", "datalist"}, "figcaption": {"figure"}, "td": {"tr"}, "th": {"tr"}}
ONLY_IN |= {"html": {""}, "head": {"", "html"}, "body": {"", "html"}}
ONLY_IN |= dict.fromkeys(("caption", "colgroup", "thead", "tbody", "tfoot"), {"table"})
