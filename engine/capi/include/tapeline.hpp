// Tapeline for C++17: tapeline.h with destructors, exceptions and iterators. Header-only.
//
// Errors are thrown as tapeline::error, but for tapeline::producer::try_emit, which returns a code: an exception costs a
// thousand events. What a reader returns is valid until its next call, as in C.
#ifndef TAPELINE_HPP
#define TAPELINE_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tapeline.h"

namespace tapeline {

// A result that is an error, with its code. what() has the facts.
class error : public std::runtime_error {
  public:
    explicit error(int32_t code)
        : error(code, tapeline_last_error()) {}
    error(int32_t code, const std::string &text)
        : std::runtime_error(std::string(tapeline_strerror(code)) + ": " + text), code_(code) {}

    int32_t code() const noexcept { return code_; }

  private:
    int32_t code_;
};

// Throws unless the code is TAPELINE_OK.
inline void check(int32_t code) {
    if (code != TAPELINE_OK) {
        throw error(code);
    }
}

// Milliseconds; a negative number has no end.
using milliseconds = int64_t;
constexpr milliseconds forever = -1;

using session = tapeline_session;
using ticket = tapeline_ticket;

// A session's id of its name.
inline session session_named(std::string_view name) {
    session made{};
    check(tapeline_session_named(name.data(), name.size(), &made));
    return made;
}

namespace detail {

// A text of the library: `call` writes it into a buffer, and says how long it is where the buffer is too small.
template <typename Call> std::string text(Call call) {
    std::string text(256, '\0');
    for (;;) {
        size_t length = 0;
        const int32_t code = call(text.data(), text.size(), &length);
        if (code != TAPELINE_BUFFER) {
            check(code);
            text.resize(length);
            return text;
        }
        // More may have come since.
        text.resize(length + length / 4 + 1);
    }
}

// The same of a call that takes a handle.
template <typename Handle, typename Call> std::string text_of(Handle handle, Call call) {
    return text([&](char *buffer, size_t capacity, size_t *length) { return call(handle, buffer, capacity, length); });
}

// A text for the library, which would end it at a 0 within it.
inline const char *c_text(const std::string &text) {
    if (text.find('\0') != std::string::npos) {
        throw error(TAPELINE_ARGUMENT, "a text has a 0 within it");
    }
    return text.c_str();
}

// A handle that is closed once.
template <typename Handle, int32_t (*Close)(Handle)> class owned {
  public:
    owned() noexcept = default;
    explicit owned(Handle handle) noexcept : handle_(handle) {}
    owned(owned &&other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
    owned &operator=(owned &&other) noexcept {
        if (this != &other) {
            reset();
            handle_ = std::exchange(other.handle_, Handle{});
        }
        return *this;
    }
    owned(const owned &) = delete;
    owned &operator=(const owned &) = delete;
    ~owned() { reset(); }

    Handle get() const noexcept { return handle_; }
    Handle *out() noexcept { return &handle_; }

    void reset() noexcept {
        if (handle_.number != 0) {
            Close(std::exchange(handle_, Handle{}));
        }
    }

  private:
    Handle handle_{};
};

inline int32_t close_bus(tapeline_bus bus) { return tapeline_close(bus, forever); }

} // namespace detail

// An event, or a gap: a view, as tapeline_event.
class event : public tapeline_event {
  public:
    bool is_gap() const noexcept { return item == TAPELINE_ITEM_GAP; }

    // The payload. Of a gap: its description.
    std::string_view text() const noexcept { return {reinterpret_cast<const char *>(payload), payload_len}; }

    // The name of the session. Empty: it was not opened by name, or its opening is not known.
    std::string_view name() const noexcept {
        return session_name == nullptr ? std::string_view() : std::string_view(session_name, session_name_len);
    }

    // What a client of the session resumes after. Empty of a gap that has none.
    std::string token() const {
        if (is_gap()) {
            return gap_token == nullptr ? std::string() : std::string(gap_token);
        }
        char made[TAPELINE_TOKEN_BYTES];
        check(tapeline_event_token(this, made));
        return made;
    }
};
static_assert(sizeof(event) == sizeof(tapeline_event), "an event is a view without anything of its own");

// Events of one call: views that are valid until the next one.
class events {
  public:
    events(const event *data, size_t size) noexcept : data_(data), size_(size) {}

    const event *begin() const noexcept { return data_; }
    const event *end() const noexcept { return data_ + size_; }
    size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const event &operator[](size_t at) const noexcept { return data_[at]; }

  private:
    const event *data_;
    size_t size_;
};

// A subscription, a relay or a replay. For one thread at a time.
class reader {
  public:
    // Waits for events. Empty where the time has passed, and at the end: see has_ended().
    events next(milliseconds timeout = forever) {
        size_t count = 0;
        auto *views = views_->data();
        const int32_t code = tapeline_reader_next(handle_.get(), views, views_->size(), timeout, &count);
        if (code == TAPELINE_END) {
            has_ended_ = true;
        } else if (code != TAPELINE_TIMEOUT) {
            check(code);
        }
        return {views_->data(), count};
    }

    bool has_ended() const noexcept { return has_ended_; }

    // For poll and epoll, as tapeline_reader_fd.
    int fd() const {
        int fd = -1;
        check(tapeline_reader_fd(handle_.get(), &fd));
        return fd;
    }

    // Of a subscription: the cursor after what next() has returned.
    std::string cursor() const { return detail::text_of(handle_.get(), tapeline_reader_cursor); }

    tapeline_reader handle() const noexcept { return handle_.get(); }

    // Goes over the events one by one, and waits for each; ends where the reader does.
    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = event;
        using difference_type = std::ptrdiff_t;
        using pointer = const event *;
        using reference = const event &;

        iterator() noexcept = default;
        explicit iterator(reader *from) : from_(from) { fill(); }

        reference operator*() const noexcept { return *at_; }
        pointer operator->() const noexcept { return at_; }
        iterator &operator++() {
            if (++at_ == end_) {
                fill();
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(const iterator &other) const noexcept { return from_ == other.from_; }
        bool operator!=(const iterator &other) const noexcept { return from_ != other.from_; }

      private:
        void fill() {
            const events found = from_->next(forever);
            at_ = found.begin();
            end_ = found.end();
            if (found.empty()) {
                from_ = nullptr;
            }
        }

        reader *from_ = nullptr;
        const event *at_ = nullptr;
        const event *end_ = nullptr;
    };

    iterator begin() { return iterator(this); }
    iterator end() noexcept { return iterator(); }

  private:
    friend class bus;
    friend class log;
    friend reader follow(const std::string &directory, const tapeline_subscribe_options &options);
    reader() : views_(std::make_unique<std::vector<event>>(256)) {}

    detail::owned<tapeline_reader, tapeline_reader_close> handle_;
    std::unique_ptr<std::vector<event>> views_;
    bool has_ended_ = false;
};

// The fast way to ingest, for the thread that made it, which also destroys it; see tapeline_producer.
class producer {
  public:
    ticket emit(session of, uint16_t kind, std::string_view payload) {
        ticket given{};
        check(try_emit(of, kind, payload, &given));
        return given;
    }

    // As emit, with a code for an error: TAPELINE_BACKPRESSURE, TAPELINE_DROPPED.
    int32_t try_emit(session of, uint16_t kind, std::string_view payload, ticket *given = nullptr) noexcept {
        const auto *data = reinterpret_cast<const uint8_t *>(payload.data());
        return tapeline_emit(handle_.get(), of, kind, data, payload.size(), given);
    }

    void flush(milliseconds timeout = forever) { check(tapeline_producer_flush(handle_.get(), timeout)); }

    // Lets the next thread that uses it own it.
    void release() { check(tapeline_producer_release(handle_.get())); }

    tapeline_producer handle() const noexcept { return handle_.get(); }

  private:
    friend class bus;
    detail::owned<tapeline_producer, tapeline_producer_close> handle_;
};

// A page: its events, and the cursor for the next one. Views are valid as long as the page is there.
class page {
  public:
    tapeline::events events() const noexcept { return {views_.data(), info_.event_count}; }
    std::string cursor() const { return info_.cursor; }
    bool has_more() const noexcept { return info_.has_more != 0; }

    std::vector<event> gaps() const {
        std::vector<event> gaps(info_.gap_count);
        size_t count = 0;
        check(tapeline_page_gaps(handle_.get(), gaps.data(), gaps.size(), &count));
        return gaps;
    }

  private:
    friend class bus;
    page() = default;

    detail::owned<tapeline_page, tapeline_page_close> handle_;
    std::vector<event> views_;
    tapeline_page_info info_{};
};

// Options that are all at their defaults.
template <typename Options> Options defaults() noexcept {
    Options options{};
    options.struct_size = sizeof options;
    return options;
}

// A bus. Any thread may use it. The destructor waits until what was ingested is written.
class bus {
  public:
    // A bus in memory, or as the settings of docs/C.md say.
    explicit bus(const std::string &json = "{}") { check(tapeline_open(detail::c_text(json), handle_.out())); }

    explicit bus(const std::vector<std::pair<std::string, std::string>> &settings) {
        std::vector<tapeline_pair> pairs;
        for (const auto &[name, value] : settings) {
            pairs.push_back({detail::c_text(name), detail::c_text(value)});
        }
        check(tapeline_open_pairs(pairs.data(), pairs.size(), handle_.out()));
    }

    // As the destructor, with a timeout, and an exception where it fails.
    void close(milliseconds timeout = forever) {
        const int32_t code = tapeline_close(handle_.get(), timeout);
        if (code != TAPELINE_TIMEOUT) {
            *handle_.out() = tapeline_bus{};
        }
        check(code);
    }

    class producer producer(const tapeline_producer_options &options = defaults<tapeline_producer_options>()) {
        class producer made;
        check(tapeline_producer_open(handle_.get(), &options, made.handle_.out()));
        return made;
    }

    ticket ingest(session of, uint16_t kind, std::string_view payload) {
        ticket given{};
        const auto *data = reinterpret_cast<const uint8_t *>(payload.data());
        check(tapeline_ingest(handle_.get(), of, kind, data, payload.size(), &given));
        return given;
    }

    ticket ingest_json(session of, uint16_t kind, std::string_view json) {
        ticket given{};
        check(tapeline_ingest_json(handle_.get(), of, kind, json.data(), json.size(), &given));
        return given;
    }

    session open_session(std::string_view name,
                         const tapeline_session_metadata &metadata = defaults<tapeline_session_metadata>()) {
        session opened{};
        check(tapeline_session_open(handle_.get(), name.data(), name.size(), &metadata, &opened, nullptr));
        return opened;
    }

    // Another turn of a session.
    void reopen_session(session of, const tapeline_session_metadata &metadata = defaults<tapeline_session_metadata>()) {
        check(tapeline_session_reopen(handle_.get(), of, &metadata, nullptr));
    }

    ticket close_session(session of, uint32_t outcome = TAPELINE_OUTCOME_FINISHED) {
        ticket given{};
        check(tapeline_session_close(handle_.get(), of, outcome, &given));
        return given;
    }

    // What the log holds of a session, as JSON. Empty: nothing.
    std::string session_summary(session of) const {
        try {
            return detail::text([&](char *buffer, size_t capacity, size_t *length) {
                return tapeline_session_summary(handle_.get(), of, buffer, capacity, length);
            });
        } catch (const error &error) {
            if (error.code() == TAPELINE_NOT_FOUND) {
                return {};
            }
            throw;
        }
    }

    void flush(milliseconds timeout = forever) { check(tapeline_flush(handle_.get(), timeout)); }

    void wait_durable(const ticket &given, milliseconds timeout = forever) {
        check(tapeline_wait_durable(handle_.get(), &given, timeout));
    }

    page poll(size_t limit, const tapeline_poll_options &options = defaults<tapeline_poll_options>()) {
        page found;
        found.views_.resize(limit);
        found.info_.struct_size = sizeof found.info_;
        check(tapeline_poll(handle_.get(), &options, found.views_.data(), limit, &found.info_));
        *found.handle_.out() = found.info_.page;
        return found;
    }

    reader subscribe(const tapeline_subscribe_options &options = defaults<tapeline_subscribe_options>()) {
        reader made;
        check(tapeline_subscribe(handle_.get(), &options, made.handle_.out()));
        return made;
    }

    // One session to one client, after the token of the last event that the client has.
    reader relay(session of, const std::string &token = {}, uint32_t visibility = TAPELINE_VISIBILITY_DURABLE) {
        reader made;
        const char *after = token.empty() ? nullptr : detail::c_text(token);
        check(tapeline_relay(handle_.get(), of, after, visibility, made.handle_.out()));
        return made;
    }

    reader replay(const tapeline_replay_options &options = defaults<tapeline_replay_options>()) {
        reader made;
        check(tapeline_replay(handle_.get(), &options, made.handle_.out()));
        return made;
    }

    void save_cursor(const std::string &name, const std::string &cursor) {
        check(tapeline_cursor_save(handle_.get(), detail::c_text(name), detail::c_text(cursor)));
    }

    // Empty: there is none of that name.
    std::string load_cursor(const std::string &name) const {
        try {
            return detail::text([&](char *buffer, size_t capacity, size_t *length) {
                return tapeline_cursor_load(handle_.get(), detail::c_text(name), buffer, capacity, length);
            });
        } catch (const error &error) {
            if (error.code() == TAPELINE_NOT_FOUND) {
                return {};
            }
            throw;
        }
    }

    // All cursors with their lags, as JSON.
    std::string cursors() const { return detail::text_of(handle_.get(), tapeline_cursors); }

    // The sessions whose tags meet a requirement, or all, as JSON.
    std::string sessions(const char *requirement = nullptr) const {
        return detail::text([&](char *buffer, size_t capacity, size_t *length) {
            return tapeline_sessions(handle_.get(), requirement, buffer, capacity, length);
        });
    }

    // The sessions that a crash has cut off, as JSON.
    std::string unfinished() const { return detail::text_of(handle_.get(), tapeline_unfinished); }
    // The shards, and what each has met, as JSON.
    std::string shards() const { return detail::text_of(handle_.get(), tapeline_shards); }

    tapeline_trimmed trim(const tapeline_retention &policy) {
        auto trimmed = defaults<tapeline_trimmed>();
        check(tapeline_trim(handle_.get(), &policy, &trimmed));
        return trimmed;
    }

    tapeline_stats stats() const {
        auto stats = defaults<tapeline_stats>();
        check(tapeline_get_stats(handle_.get(), &stats));
        return stats;
    }

    // Throws where a shard takes no events.
    void check_health() const { check(tapeline_health(handle_.get())); }

    tapeline_bus handle() const noexcept { return handle_.get(); }

  private:
    detail::owned<tapeline_bus, detail::close_bus> handle_;
};

// The files of a log, read without a bus.
class log {
  public:
    explicit log(const std::string &directory) { check(tapeline_log_open(detail::c_text(directory), handle_.out())); }

    reader replay(const tapeline_replay_options &options = defaults<tapeline_replay_options>()) const {
        reader made;
        check(tapeline_log_replay(handle_.get(), &options, made.handle_.out()));
        return made;
    }

    // The sessions whose tags meet a requirement, or all, as JSON.
    std::string sessions(const char *requirement = nullptr) const {
        return detail::text([&](char *buffer, size_t capacity, size_t *length) {
            return tapeline_log_sessions(handle_.get(), requirement, buffer, capacity, length);
        });
    }

    std::string cursors() const { return detail::text_of(handle_.get(), tapeline_log_cursors); }

  private:
    detail::owned<tapeline_log, tapeline_log_close> handle_;
};

// Follows a log that another process writes.
inline reader follow(const std::string &directory,
                     const tapeline_subscribe_options &options = defaults<tapeline_subscribe_options>()) {
    reader made;
    check(tapeline_follow(detail::c_text(directory), &options, made.handle_.out()));
    return made;
}

} // namespace tapeline

#endif
