Show	
"now" °ê