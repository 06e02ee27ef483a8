// Follows a log with a cursor that the log keeps: what one run has handled, the next one does not get again.
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>

#include <tapeline.hpp>

// Handles `wanted` calls of tools, after those that an earlier run handled.
static void handle_calls(tapeline::bus &bus, int wanted) {
    const uint16_t kinds[] = {TAPELINE_KIND_TOOL_CALL};
    const std::string cursor = bus.load_cursor("tools");
    auto options = tapeline::defaults<tapeline_subscribe_options>();
    options.kinds = kinds;
    options.kind_count = 1;
    options.filter = R"({"$prefix": {"path": "tool", "value": "search"}})";
    options.cursor = cursor.empty() ? nullptr : cursor.c_str();
    tapeline::reader calls = bus.subscribe(options);
    for (const tapeline::event &call : calls) {
        if (call.is_gap()) {
            throw std::runtime_error("events are missing: " + std::string(call.text()));
        }
        std::printf("%.*s\n", static_cast<int>(call.payload_len), call.text().data());
        if (--wanted == 0) {
            break;
        }
    }
    bus.save_cursor("tools", calls.cursor());
}

int main() {
    const auto directory = std::filesystem::temp_directory_path() / ("tapeline-follow-" + std::to_string(::rand()));
    {
        tapeline::bus bus({{"directory", directory.string()}, {"placement.pinned", "false"}});
        std::thread engine([&bus] {
            tapeline::producer producer = bus.producer();
            const tapeline::session chat = bus.open_session("chat-42");
            producer.emit(chat, TAPELINE_KIND_TOKEN, "Let me look.");
            producer.emit(chat, TAPELINE_KIND_TOOL_CALL, R"({"tool": "search", "for": "io_uring"})");
            producer.emit(chat, TAPELINE_KIND_TOOL_CALL, R"({"tool": "calculator"})");
        });
        handle_calls(bus, 1);
        engine.join();
    }
    {
        tapeline::bus bus({{"directory", directory.string()}, {"placement.pinned", "false"}});
        bus.ingest(tapeline::session_named("chat-43"), TAPELINE_KIND_TOOL_CALL, R"({"tool": "search", "for": "epoll"})");
        handle_calls(bus, 1);
    }
    std::filesystem::remove_all(directory);
    return 0;
}
