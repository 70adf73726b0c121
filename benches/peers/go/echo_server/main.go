// An echo server in the same shape as the command server: what comes goes back as a binary message.
package main

import (
	"flag"
	"log"
	"net/http"

	"golang.org/x/net/websocket"
)

func main() {
	address := flag.String("address", "127.0.0.1:8080", "where to listen")
	flag.Parse()
	// websocket.Handler would refuse programs, which send no Origin.
	http.Handle("/server", websocket.Server{Handler: serve})
	log.Fatal(http.ListenAndServe(*address, nil))
}

func serve(connection *websocket.Conn) {
	defer connection.Close()
	for {
		var message []byte
		if err := websocket.Message.Receive(connection, &message); err != nil {
			return
		}
		if err := websocket.Message.Send(connection, message); err != nil {
			return
		}
	}
}
