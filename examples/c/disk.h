/* A disk image. Each function returns 0 or a negative errno: -EFAULT for a null pointer, -EIO for a bug, which is printed.
 * Any thread may use a disk, and several at once. */

#ifndef DISK_H
#define DISK_H

#include <stddef.h>
#include <stdint.h>

typedef struct Disk Disk;

/* Is called for each chunk: its bytes, how many, and the caller's own pointer. Not 0 ends the scan, with that value. */
typedef int (*DiskVisit)(const uint8_t *bytes, size_t len, void *opaque);

/* Opens an image file, to be closed by `disk_close`. */
int disk_open(const char *path, Disk **disk);

/* Closes it. NULL is closed already. */
void disk_close(Disk *disk);

/* How many bytes it has. */
int disk_size(const Disk *disk, uint64_t *size);

/* Reads up to `len` bytes, fewer only at the end. */
int disk_read(const Disk *disk, uint64_t off, uint8_t *buf, size_t len, size_t *done);

/* Writes all `len` bytes. */
int disk_write(const Disk *disk, uint64_t off, const uint8_t *buf, size_t len);

/* Flushes. */
int disk_flush(const Disk *disk);

/* Calls `visit` for each chunk. `visit` may not call these functions: they return -EIO there. `said` is what ended the scan, or 0. */
int disk_scan(const Disk *disk, size_t chunk, DiskVisit visit, void *opaque, int *said);

#endif
