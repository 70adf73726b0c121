// A command server as Go programs usually have it: one goroutine per connection, which receives a
// message, answers it, and waits for the next.
package main

import (
	"flag"
	"log"
	"net/http"

	"golang.org/x/net/websocket"
)

// Message is the command dialect's one message.
type Message struct {
	RequestID      int    `json:"requestID"`
	Command        string `json:"command"`
	SomeOtherThing string `json:"someOtherThing"`
	Success        bool   `json:"success"`
}

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
		var request Message
		if err := websocket.JSON.Receive(connection, &request); err != nil {
			return
		}
		reply := Message{
			RequestID:      request.RequestID,
			Command:        request.Command,
			SomeOtherThing: "Server processed command: " + request.Command,
			Success:        true,
		}
		if err := websocket.JSON.Send(connection, reply); err != nil {
			return
		}
	}
}
