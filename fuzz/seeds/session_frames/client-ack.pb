B
news*
room:1