*=
)$session/8f3a61c07d9e4b25a1f0c2d3e4b5a6975bd1c0aa31f2e877