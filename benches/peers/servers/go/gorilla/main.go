// A server as programs with github.com/gorilla/websocket usually are: one goroutine for each
// connection that reads, and for a subscriber one more that writes.
package main

import (
	"flag"
	"log"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// Message is the command dialect's one message.
type Message struct {
	RequestID      int    `json:"requestID"`
	Command        string `json:"command"`
	SomeOtherThing string `json:"someOtherThing"`
	Success        bool   `json:"success"`
}

// The pool is the library's advice for many connections that seldom write.
var upgrader = websocket.Upgrader{WriteBufferPool: &sync.Pool{}}

func main() {
	address := flag.String("address", "127.0.0.1:8080", "where to listen")
	work := flag.String("work", "echo", "echo, command or fanout")
	flag.Parse()
	type handler = func(*websocket.Conn, *http.Request)
	serve, ok := map[string]handler{"echo": echo, "command": command, "fanout": fanout}[*work]
	if !ok {
		log.Fatalf("no such work: %s", *work)
	}
	http.HandleFunc("/server", func(writer http.ResponseWriter, request *http.Request) {
		connection, err := upgrader.Upgrade(writer, request, nil)
		if err != nil {
			return // The client has been told.
		}
		defer connection.Close()
		serve(connection, request)
	})
	log.Fatal(http.ListenAndServe(*address, nil))
}

func echo(connection *websocket.Conn, _ *http.Request) {
	for {
		kind, message, err := connection.ReadMessage()
		if err != nil {
			return
		}
		if err := connection.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

func command(connection *websocket.Conn, _ *http.Request) {
	for {
		var request Message
		if err := connection.ReadJSON(&request); err != nil {
			return
		}
		reply := Message{
			RequestID:      request.RequestID,
			Command:        request.Command,
			SomeOtherThing: "Server processed command: " + request.Command,
			Success:        true,
		}
		if err := connection.WriteJSON(reply); err != nil {
			return
		}
	}
}

// An event is framed once for all (PreparedMessage). A subscriber has a channel and a goroutine that
// writes, so that one which does not read holds up nobody else.
func fanout(connection *websocket.Conn, request *http.Request) {
	if request.URL.Query().Get("channel") == "news" {
		outbox := join()
		defer leave(outbox)
		go func() {
			// It writes until its connection is closed, or has left.
			for event := range outbox {
				if err := connection.WritePreparedMessage(event); err != nil {
					connection.Close()
				}
			}
		}()
	}
	for {
		_, payload, err := connection.ReadMessage()
		if err != nil {
			return
		}
		event, err := websocket.NewPreparedMessage(websocket.TextMessage, payload)
		if err != nil {
			return
		}
		publish(event)
	}
}

var (
	subscribersLock sync.Mutex
	subscribers     = map[chan *websocket.PreparedMessage]struct{}{}
)

func join() chan *websocket.PreparedMessage {
	outbox := make(chan *websocket.PreparedMessage, outboxCountMax)
	subscribersLock.Lock()
	defer subscribersLock.Unlock()
	subscribers[outbox] = struct{}{}
	return outbox
}

func leave(outbox chan *websocket.PreparedMessage) {
	subscribersLock.Lock()
	defer subscribersLock.Unlock()
	delete(subscribers, outbox)
	close(outbox)
}

func publish(event *websocket.PreparedMessage) {
	subscribersLock.Lock()
	defer subscribersLock.Unlock()
	for outbox := range subscribers {
		select {
		case outbox <- event:
		default: // What a full outbox has no room for is lost, and the load says so.
		}
	}
}

const outboxCountMax = 64
