%news
{"headline":"it works"}