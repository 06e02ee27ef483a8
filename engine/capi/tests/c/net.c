// A program of net-mesh, over tapeline_net.h.
#include "check.h"

#include <tapeline_net.h>

int main(void) {
    CHECK(net_init("{\"no such setting\": 1}") == NULL);
    CHECK(strstr(tapeline_last_error(), "no such setting") != NULL);
    NetHandle *handle = net_init("{\"num_shards\": 2, \"ring_buffer_capacity\": 1024, \"backpressure_mode\": \"DropOldest\"}");
    CHECK(handle != NULL && net_num_shards(handle) == 2);
    CHECK(net_ingest(handle, "{\"token\": \"hi\"}", 15) == NET_SUCCESS);
    CHECK(net_ingest(handle, "{\"token", 7) == NET_ERR_INVALID_JSON);
    CHECK(net_ingest(handle, NULL, 7) == NET_ERR_NULL_POINTER);
    const char *const events[] = {"1", "22"};
    const size_t lengths[] = {1, 2};
    CHECK(net_ingest_raw_batch(handle, events, lengths, 2) == 2);
    CHECK(net_flush(handle) == NET_SUCCESS);
    tapeline_event views[8];
    tapeline_page_info page = {.struct_size = sizeof page};
    OK(tapeline_poll(handle->bus, NULL, views, 8, &page));
    CHECK(page.event_count == 3);
    OK(tapeline_page_close(page.page));
    CHECK(strcmp(net_version(), tapeline_version()) == 0);
    CHECK(net_shutdown(handle) == NET_SUCCESS);
    CHECK(net_shutdown(NULL) == NET_ERR_NULL_POINTER && net_flush(NULL) == NET_ERR_NULL_POINTER);
    puts("net: ok");
    return 0;
}
