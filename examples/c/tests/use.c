/* Uses each function of disk.h on the image that it is given, and compares what it finds with what stdio finds. */

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"

#define CHECK(what)                                                            \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static uint8_t *contents(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    CHECK(file && !fseek(file, 0, SEEK_END));
    *len = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*len);
    CHECK(bytes && fread(bytes, 1, *len, file) == *len);
    fclose(file);
    return bytes;
}

struct Scan {
    const Disk *disk;
    uint8_t *bytes;
    size_t len;
    size_t chunks;
    size_t end_after;
    bool calls_back;
};

static int visit(const uint8_t *bytes, size_t len, void *opaque)
{
    struct Scan *scan = opaque;
    memcpy(scan->bytes + scan->len, bytes, len);
    scan->len += len;
    scan->chunks++;
    if (scan->calls_back) {
        uint64_t size = 7;
        CHECK(disk_size(scan->disk, &size) == -EIO && size == 7);
    }
    return scan->chunks == scan->end_after ? 42 : 0;
}

static void *read_all(void *opaque)
{
    const struct Scan *scan = opaque;
    uint8_t *bytes = malloc(scan->len);
    for (int again = 0; again < 50; again++) {
        size_t done = 0;
        CHECK(disk_read(scan->disk, 0, bytes, scan->len, &done) == 0);
        CHECK(done == scan->len && !memcmp(bytes, scan->bytes, done));
    }
    free(bytes);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    size_t len = 0;
    uint8_t *expected = contents(argv[1], &len);
    uint8_t *bytes = malloc(len + 10);
    Disk *disk = NULL;

    /* What is wrong is said, and changes nothing. */
    CHECK(disk_open("/no/such/image", &disk) == -ENOENT && !disk);
    CHECK(disk_open(NULL, &disk) == -EFAULT && disk_open(argv[1], NULL) == -EFAULT && !disk);
    disk_close(NULL);

    CHECK(disk_open(argv[1], &disk) == 0 && disk);
    uint64_t size = 0;
    CHECK(disk_size(disk, &size) == 0 && size == len);
    CHECK(disk_size(NULL, &size) == -EFAULT && disk_size(disk, NULL) == -EFAULT && size == len);

    /* Reads: all, a part, at the end, past it, and nothing. */
    size_t done = 0;
    CHECK(disk_read(disk, 0, bytes, len + 10, &done) == 0 && done == len && !memcmp(bytes, expected, len));
    CHECK(disk_read(disk, 5, bytes, 3, &done) == 0 && done == 3 && !memcmp(bytes, expected + 5, 3));
    CHECK(disk_read(disk, len - 2, bytes, 9, &done) == 0 && done == 2 && !memcmp(bytes, expected + len - 2, 2));
    CHECK(disk_read(disk, len, bytes, 9, &done) == 0 && done == 0);
    done = 9;
    CHECK(disk_read(disk, 0, NULL, 0, &done) == 0 && done == 0);
    done = 9;
    CHECK(disk_read(disk, 0, NULL, 1, &done) == -EFAULT && done == 9);
    CHECK(disk_read(disk, 0, bytes, SIZE_MAX, &done) == -EINVAL && done == 9);

    /* Writes, of which stdio sees the bytes. */
    memset(expected + 100, 0xa5, 50);
    CHECK(disk_write(disk, 100, expected + 100, 50) == 0 && disk_flush(disk) == 0);
    CHECK(disk_write(disk, 100, NULL, 0) == 0 && disk_write(disk, 100, NULL, 1) == -EFAULT);
    size_t now = 0;
    uint8_t *written = contents(argv[1], &now);
    CHECK(now == len && !memcmp(written, expected, len));
    free(written);

    /* A callback, which is called inside the future: what it calls may not block. */
    struct Scan scan = { .disk = disk, .bytes = bytes };
    int said = 7;
    CHECK(disk_scan(disk, 4096, visit, &scan, &said) == 0 && said == 0);
    CHECK(scan.len == len && scan.chunks == (len + 4095) / 4096 && !memcmp(bytes, expected, len));
    scan = (struct Scan) { .disk = disk, .bytes = bytes, .end_after = 2 };
    CHECK(disk_scan(disk, 1000, visit, &scan, &said) == 0 && said == 42 && scan.len == 2000);
    scan = (struct Scan) { .disk = disk, .bytes = bytes, .end_after = 1, .calls_back = true };
    CHECK(disk_scan(disk, 1000, visit, &scan, &said) == 0 && said == 42);
    said = 7;
    CHECK(disk_scan(disk, 1000, NULL, &scan, &said) == -EINVAL && said == 7);

    /* Threads. */
    struct Scan whole = { .disk = disk, .bytes = expected, .len = len };
    pthread_t threads[4];
    for (int at = 0; at < 4; at++) {
        CHECK(!pthread_create(&threads[at], NULL, read_all, &whole));
    }
    for (int at = 0; at < 4; at++) {
        CHECK(!pthread_join(threads[at], NULL));
    }

    disk_close(disk);
    free(bytes);
    free(expected);
    puts("all is as expected");
    return 0;
}
