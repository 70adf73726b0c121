B;
news5bd1c0aa31f2e877* 2*	conflated25bd1c0aa31f2e87782