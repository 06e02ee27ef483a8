// An event loop that follows two sessions by their descriptors, as a server with epoll does.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <tapeline.h>

static void check(int32_t code) {
    if (code != TAPELINE_OK) {
        fprintf(stderr, "%s: %s\n", tapeline_strerror(code), tapeline_last_error());
        exit(1);
    }
}

// Writes what the relay has now. Returns 1 at its end.
static int drain(tapeline_reader relay) {
    for (;;) {
        tapeline_event events[16];
        size_t count = 0;
        int32_t code = tapeline_reader_next(relay, events, 16, 0, &count);
        if (code == TAPELINE_TIMEOUT) {
            return 0;
        }
        if (code == TAPELINE_END) {
            return 1;
        }
        check(code);
        for (size_t at = 0; at < count; at++) {
            if (events[at].kind == TAPELINE_KIND_TOKEN) {
                printf("%.*s\n", (int)events[at].payload_len, (const char *)events[at].payload);
            }
        }
    }
}

int main(void) {
    const char *names[] = {"chat-1", "chat-2"};
    tapeline_bus bus;
    tapeline_session sessions[2];
    tapeline_reader relays[2];
    check(tapeline_open("{\"placement\": {\"pinned\": false}}", &bus));
    int loop = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t at = 0; at < 2; at++) {
        check(tapeline_session_open(bus, names[at], strlen(names[at]), NULL, &sessions[at], NULL));
        check(tapeline_relay(bus, sessions[at], NULL, TAPELINE_VISIBILITY_APPENDED, &relays[at]));
        int fd;
        check(tapeline_reader_fd(relays[at], &fd));
        struct epoll_event wanted = {.events = EPOLLIN, .data = {.u32 = at}};
        if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &wanted) != 0) {
            perror("epoll_ctl");
            return 1;
        }
    }
    for (int at = 0; at < 2; at++) {
        check(tapeline_ingest(bus, sessions[at], TAPELINE_KIND_TOKEN, (const uint8_t *)names[at], 6, NULL));
        check(tapeline_session_close(bus, sessions[at], TAPELINE_OUTCOME_FINISHED, NULL));
    }
    for (int open = 2; open > 0;) {
        struct epoll_event ready;
        if (epoll_wait(loop, &ready, 1, -1) != 1) {
            perror("epoll_wait");
            return 1;
        }
        if (drain(relays[ready.data.u32])) {
            // Its descriptor goes away with it, and out of the epoll.
            check(tapeline_reader_close(relays[ready.data.u32]));
            open--;
        }
    }
    check(tapeline_close(bus, -1));
    close(loop);
    return 0;
}
