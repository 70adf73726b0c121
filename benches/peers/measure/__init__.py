"""Mainstay beside its peers: what `benches/peers/run` is made of.

peers → build → process → measurement → summary → table and plot
"""
