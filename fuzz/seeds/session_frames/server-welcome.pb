
Š 8f3a61c07d9e4b25a1f0c2d3e4b5a697+zc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc0 (2ann@example.org:mainstay/0.1.0@¨ÃHÀÏ$R
€€€€