// A server as programs with golang.org/x/net/websocket usually are: one goroutine for each connection,
// which receives a message, answers it, and waits for the next.
package main

import (
	"flag"
	"log"
	"net/http"
	"sync"

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
	work := flag.String("work", "echo", "echo, command or fanout")
	flag.Parse()
	serve, ok := map[string]websocket.Handler{"echo": echo, "command": command, "fanout": fanout}[*work]
	if !ok {
		log.Fatalf("no such work: %s", *work)
	}
	// Served as a Handler it would refuse programs, which send no Origin.
	http.Handle("/server", websocket.Server{Handler: serve})
	log.Fatal(http.ListenAndServe(*address, nil))
}

func echo(connection *websocket.Conn) {
	for {
		// As text or as bytes: whichever type it came with is the one it goes back with.
		var message received
		if err := keepType.Receive(connection, &message); err != nil {
			return
		}
		if err := keepType.Send(connection, message); err != nil {
			return
		}
	}
}

type received struct {
	payload []byte
	kind    byte
}

var keepType = websocket.Codec{
	Marshal: func(value interface{}) ([]byte, byte, error) {
		message := value.(received)
		return message.payload, message.kind, nil
	},
	Unmarshal: func(payload []byte, kind byte, value interface{}) error {
		*value.(*received) = received{payload, kind}
		return nil
	},
}

func command(connection *websocket.Conn) {
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

// A subscriber has a channel and a goroutine that writes, so that one which does not read holds up
// nobody else. The library has no messages that are framed once for all.
func fanout(connection *websocket.Conn) {
	if connection.Request().URL.Query().Get("channel") == "news" {
		outbox := join()
		defer leave(outbox)
		go func() {
			// It writes until its connection is closed, or has left.
			for event := range outbox {
				if err := websocket.Message.Send(connection, event); err != nil {
					connection.Close()
				}
			}
		}()
	}
	for {
		var event string
		if err := websocket.Message.Receive(connection, &event); err != nil {
			return
		}
		publish(event)
	}
}

var (
	subscribersLock sync.Mutex
	subscribers     = map[chan string]struct{}{}
)

func join() chan string {
	outbox := make(chan string, outboxCountMax)
	subscribersLock.Lock()
	defer subscribersLock.Unlock()
	subscribers[outbox] = struct{}{}
	return outbox
}

func leave(outbox chan string) {
	subscribersLock.Lock()
	defer subscribersLock.Unlock()
	delete(subscribers, outbox)
	close(outbox)
}

func publish(event string) {
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
