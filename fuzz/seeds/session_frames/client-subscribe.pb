2 
news)5bd1c0aa31f2e877(0