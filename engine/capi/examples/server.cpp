// An inference server as llama.cpp has one: clients ask for a completion over HTTP, and get its tokens as server-sent
// events. A client that breaks off resumes with `Last-Event-ID`. So does the server: killed with kill -9 and started
// again, it continues each completion after the last token that it had made durable, when a client asks for it.
//
//   server DIRECTORY                            # prints the port that it listens on
//   curl -N localhost:PORT/completion/chat-42
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tapeline.hpp>

namespace {

// In place of a model: makes the same tokens for a prompt, from any of them on.
constexpr int completion_tokens = 60;

std::string next_token(int at) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return "token-" + std::to_string(at);
}

// The completions that threads of this process generate.
class engine {
  public:
    explicit engine(tapeline::bus &bus) : bus_(bus) {}

    // Has a thread generate the rest of a completion, unless one does, or there is no rest.
    void ensure(const std::string &name) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (running_.count(name) != 0) {
            return;
        }
        tapeline::session session = tapeline::session_named(name);
        const std::string summary = bus_.session_summary(session);
        if (summary.find("\"state\":\"closed\"") != std::string::npos) {
            return;
        }
        int from = 0;
        if (summary.empty()) {
            bus_.open_session(name);
        } else {
            from = count_tokens(session);
        }
        running_.insert(name);
        std::thread([this, session, name, from] { generate(session, name, from); }).detach();
    }

  private:
    // The tokens that the log has: what an earlier process made durable.
    int count_tokens(tapeline::session session) {
        auto options = tapeline::defaults<tapeline_replay_options>();
        options.sessions = &session;
        options.session_count = 1;
        int tokens = 0;
        for (const tapeline::event &event : bus_.replay(options)) {
            tokens += event.kind == TAPELINE_KIND_TOKEN;
        }
        return tokens;
    }

    void generate(tapeline::session session, const std::string &name, int from) {
        try {
            tapeline::producer producer = bus_.producer();
            for (int at = from; at < completion_tokens; at++) {
                producer.emit(session, TAPELINE_KIND_TOKEN, next_token(at));
            }
            bus_.close_session(session);
        } catch (const tapeline::error &error) {
            std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        running_.erase(name);
    }

    tapeline::bus &bus_;
    std::mutex mutex_;
    std::set<std::string> running_;
};

// A client's connection.
class connection {
  public:
    explicit connection(int fd) : fd_(fd) {}
    connection(const connection &) = delete;
    ~connection() { ::close(fd_); }

    // The head of a request, in which names of headers are as the client wrote them. Empty: there is none.
    std::string read_head() {
        std::string head;
        char buffer[4096];
        while (head.find("\r\n\r\n") == std::string::npos && head.size() < 64 * 1024) {
            const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
            if (got <= 0) {
                return {};
            }
            head.append(buffer, static_cast<size_t>(got));
        }
        return head;
    }

    // Returns false where the client is gone.
    bool write(const std::string &text) {
        for (size_t sent = 0; sent < text.size();) {
            const ssize_t wrote = ::send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (wrote <= 0) {
                return false;
            }
            sent += static_cast<size_t>(wrote);
        }
        return true;
    }

    void refuse(const std::string &status, const std::string &text) {
        write("HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: " + std::to_string(text.size() + 1) +
              "\r\n\r\n" + text + "\n");
    }

  private:
    int fd_;
};

// The text between two others.
std::string between(const std::string &text, const std::string &before, const std::string &after) {
    const size_t begin = text.find(before);
    if (begin == std::string::npos) {
        return {};
    }
    const size_t end = text.find(after, begin + before.size());
    return text.substr(begin + before.size(), end - begin - before.size());
}

std::string frame(const tapeline::event &event) {
    const std::string id = event.token().empty() ? "" : "id: " + event.token() + "\n";
    const std::string data = "data: " + std::string(event.text()) + "\n\n";
    return event.is_gap() ? id + "event: gap\n" + data : id + data;
}

// Relays a completion to its client, until it ends or the client is gone.
void stream(tapeline::reader &relay, connection &client) {
    bool is_there = client.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    while (is_there) {
        const tapeline::events found = relay.next(1000);
        if (relay.has_ended()) {
            client.write("event: end\ndata:\n\n");
            return;
        }
        if (found.empty()) {
            is_there = client.write(": keep-alive\n\n");
        }
        for (const tapeline::event &event : found) {
            if (event.is_gap() || event.kind == TAPELINE_KIND_TOKEN) {
                is_there = is_there && client.write(frame(event));
            }
        }
    }
}

void serve(tapeline::bus &bus, engine &engine, int fd) {
    connection client(fd);
    const std::string head = client.read_head();
    const std::string name = between(head, "GET /completion/", " ");
    if (name.empty()) {
        return client.refuse("404 Not Found", "GET /completion/NAME");
    }
    try {
        engine.ensure(name);
        tapeline::reader relay =
            bus.relay(tapeline::session_named(name), between(head, "\r\nLast-Event-ID: ", "\r\n"));
        stream(relay, client);
    } catch (const tapeline::error &error) {
        const bool is_gone = error.code() == TAPELINE_TOKEN_GONE;
        const bool is_token = error.code() == TAPELINE_TOKEN;
        client.refuse(is_gone ? "410 Gone" : is_token ? "400 Bad Request" : "500 Internal Server Error", error.what());
    }
}

int listen_on_any_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr *>(&address), length) != 0 || ::listen(fd, 64) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length) != 0) {
        throw std::runtime_error(std::strerror(errno));
    }
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return fd;
}

} // namespace

int main(int count, char **arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    try {
        tapeline::bus bus({{"directory", arguments[1]}, {"placement.pinned", "false"}});
        engine engine(bus);
        const int listener = listen_on_any_port();
        for (;;) {
            const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd >= 0) {
                std::thread(serve, std::ref(bus), std::ref(engine), fd).detach();
            }
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
