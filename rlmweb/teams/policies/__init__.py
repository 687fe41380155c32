"""What an organisation allows beyond roles: profiles, their rules, and the one decision that everything asks.

`rules` (the document), `profiles` (four of them), `current` (which one holds), `deciding` (may this be done?), `enforcing`
(do it or refuse, with an audit entry), `keeping` (change it), `affected` (what a change would refuse).
"""
