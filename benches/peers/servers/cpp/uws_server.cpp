// The server of uWebSockets, as its own examples are: one loop, one thread, topics for fan-out.
#include <App.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

namespace {

struct Connection {
    bool is_subscriber = false;
};

using Socket = uWS::WebSocket<false, true, Connection>;
using Behavior = uWS::App::WebSocketBehavior<Connection>;

constexpr std::string_view TOPIC = "news";

void echo(Socket *socket, std::string_view message, uWS::OpCode kind) {
    socket->send(message, kind);
}

// The command dialect: what came is answered with the same requestID and command.
void answer(Socket *socket, std::string_view message, uWS::OpCode) {
    rapidjson::Document request;
    request.Parse(message.data(), message.size());
    if (request.HasParseError() || !request.IsObject() || !request.HasMember("requestID") ||
        !request["requestID"].IsInt64() || !request.HasMember("command") || !request["command"].IsString()) {
        socket->end(1007);
        return;
    }
    const auto &command = request["command"];
    const auto text = "Server processed command: " + std::string(command.GetString(), command.GetStringLength());
    rapidjson::StringBuffer reply;
    rapidjson::Writer<rapidjson::StringBuffer> writer(reply);
    writer.StartObject();
    writer.Key("requestID");
    writer.Int64(request["requestID"].GetInt64());
    writer.Key("command");
    writer.String(command.GetString(), command.GetStringLength());
    writer.Key("someOtherThing");
    writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
    writer.Key("success");
    writer.Bool(true);
    writer.EndObject();
    socket->send({reply.GetString(), reply.GetSize()}, uWS::OpCode::TEXT);
}

void serve(const std::string &host, int port, const std::string &work) {
    uWS::App app;
    Behavior behavior;
    behavior.compression = uWS::DISABLED;
    behavior.maxPayloadLength = 1024 * 1024;
    // Sixteen messages of 16 KiB may wait; over the default of 64 KiB they would be dropped.
    behavior.maxBackpressure = 16 * 1024 * 1024;
    behavior.upgrade = [](auto *response, auto *request, auto *context) {
        response->template upgrade<Connection>(
            {request->getQuery("channel") == TOPIC}, request->getHeader("sec-websocket-key"),
            request->getHeader("sec-websocket-protocol"), request->getHeader("sec-websocket-extensions"), context);
    };
    behavior.open = [](Socket *socket) {
        if (socket->getUserData()->is_subscriber) {
            socket->subscribe(TOPIC);
        }
    };
    if (work == "echo") {
        behavior.message = echo;
    } else if (work == "command") {
        behavior.message = answer;
    } else if (work == "fanout") {
        // What is published is framed once, and written at the end of the loop's turn: one write for
        // all that one read brought.
        behavior.message = [&app](Socket *, std::string_view message, uWS::OpCode) {
            app.publish(TOPIC, message, uWS::OpCode::TEXT);
        };
    } else {
        std::cerr << "no such work: " << work << "\n";
        std::exit(2);
    }
    app.ws<Connection>("/server", std::move(behavior));
    app.listen(host, port, [&](auto *listening) {
        if (listening == nullptr) {
            std::cerr << "cannot listen on " << host << ":" << port << "\n";
            std::exit(1);
        }
    });
    app.run();
}

}  // namespace

int main(int count, char **values) {
    std::string address = "127.0.0.1:8080";
    std::string work = "echo";
    for (int index = 1; index + 1 < count; index += 2) {
        const std::string_view name = values[index];
        if (name == "--address") {
            address = values[index + 1];
        } else if (name == "--work") {
            work = values[index + 1];
        }
    }
    const auto colon = address.rfind(':');
    serve(address.substr(0, colon), std::atoi(address.c_str() + colon + 1), work);
}
