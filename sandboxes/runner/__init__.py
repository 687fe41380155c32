"""The program that runs inside every sandbox: a supervisor that speaks the runner protocol, and the REPL child.

It is written as small parts and shipped as one file (`bundle.py` joins them), because a sandbox gets exactly one
upload. Rules for the parts: Python 3.9, standard library only, and nothing imported at the top that pulls in `re`,
`enum` or `typing`: a cold sandbox answers after two interpreter starts, not five.
"""
