
À
example/1.0 8f3a61c07d9e4b25a1f0c2d3e4b5a697+q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s (2)

prices/eur5bd1c0aa31f2e877ÿÿÿÿÿÿÿ 2
room:15bd1c0aa31f2e877(2
room:25bd1c0aa31f2e877(2C
)$session/8f3a61c07d9e4b25a1f0c2d3e4b5a6975bd1c0aa31f2e877 (20
$principal/ann@example.org5bd1c0aa31f2e877