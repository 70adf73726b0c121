*#"
handler_failedno downloader