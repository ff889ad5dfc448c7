/* A CUDA driver without GPUs: libcuda.so.1 for tests/test_cuda_hardware.py.

It exercises the driver `kernels/cuda/hardware.py` where there is no GPU, through the
real numba-cuda and cuda-bindings: contexts, threads, streams, events, memory, and the
arguments of launches, as many and as wide as the compiled kernel says that they are.
Host memory stands for the devices'. No kernel runs, and all other work is done at once.

It counts as faults, and says on stderr, what a real driver refuses or what would go
wrong there: calls made without a current context, addresses that are in no allocation,
frees of what is not allocated, copies between the wrong devices, work on a stream of
another device, handles that are none.

What is named fake_* is for the tests. Parameters that a function makes no use of are
left out at the end of its list. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* some of CUresult */
enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NO_DEVICE = 100, ILLEGAL_ADDRESS = 700 };
/* The host comes after all devices. A device's context is FIRST_CONTEXT + its index. */
enum { HOST = 8, FIRST_CONTEXT = 1000, MOST_PARAMETERS = 64, DEPTH = 64 };
enum kind { STREAM, EVENT, KERNEL };
typedef uint64_t address;

typedef struct block {
    address start;
    size_t size;
    int device; /* or HOST */
    struct block *next;
} block;

typedef struct {
    enum kind kind;
    int number; /* counts the handles of its kind, from 1 */
    int device;
    int dead, timed;
    long recorded;  /* an event's time, 0 before it is recorded */
    int parameters; /* of a kernel: how many, and their bytes */
    int sizes[MOST_PARAMETERS];
} handle;

typedef struct {
    unsigned grid[3], block[3], shared;
    handle *stream;
} launch;

/* How many devices there are, and what each has. */
int fake_devices = 2;
long fake_bytes = 1 << 26;
/* Bytes that are allocated on each device and of the host's memory, which is pinned. */
long fake_used[HOST + 1];
int fake_events, fake_faults; /* events that live */
/* What devices were told to do, a line each, ending in "on device:stream". Streams
count from 1, 0 is the default one. Who sets the length to 0 begins anew. */
char fake_record[1 << 18];
long fake_recorded;
/* The next so many calls of a function fail with a CUresult. */
char fake_failing[64];
int fake_failures, fake_failure;

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static int handles[3];
static long now;
static __thread long stack[DEPTH];
static __thread int depth;

static int current(void) { return (int)stack[depth - 1] - FIRST_CONTEXT; }
int fake_depth(void) { return depth; }

static int fault(const char *call, const char *what) {
    fake_faults++;
    fprintf(stderr, "fake driver: %s %s\n", call, what);
    return INVALID_VALUE;
}

static void note(handle *stream, const char *format, ...) {
    va_list values;
    char *at = fake_record + fake_recorded;
    now++;
    if (fake_recorded > (long)sizeof fake_record - 4096)
        return;
    va_start(values, format);
    at += vsnprintf(at, 2048, format, values);
    va_end(values);
    at += sprintf(at, " on %d:%d\n", current(), stream ? stream->number : 0);
    fake_recorded = at - fake_record;
}

static void leave(int *entered) {
    (void)entered;
    pthread_mutex_unlock(&one_at_a_time);
}

static int enter(const char *call) {
    pthread_mutex_lock(&one_at_a_time);
    if (fake_failures && !strcmp(call, fake_failing)) {
        fake_failures--;
        return fake_failure;
    }
    return depth ? OK : fault(call, "without a current context");
}

#define TRY(attempt) \
    for (int refused = (attempt); refused;) return refused

/* Begin what works on the current device. Other threads wait until it returns. */
#define ENTER \
    int entered __attribute__((cleanup(leave))) = enter(__func__); \
    TRY(entered)

/* Begin what works on a stream of the current device. */
#define ENTER_ON(stream) \
    ENTER; \
    TRY(check(__func__, stream, STREAM, current()))

/* A function that does no more than this. */
#define CALL(declaration, does) \
    int declaration { \
        does; \
        return OK; \
    }

/* Refuse a handle that is none, or of another device than this one. */
static int check(const char *call, handle *given, enum kind kind, int device) {
    if (!given && kind == STREAM) /* the default one */
        return OK;
    if (!given || given->dead || given->kind != kind)
        return fault(call, "with a handle that is none");
    return given->device == device ? OK : fault(call, "with another device's handle");
}

/* Events of another device may be asked and waited for. */
#define CHECK_EVENT(event) TRY(check(__func__, event, EVENT, (event)->device))

static handle *make(enum kind kind, int device) {
    handle *made = calloc(1, sizeof *made); /* never freed: see `dead` */
    *made = (handle){.kind = kind, .number = ++handles[kind], .device = device};
    return made;
}

static block *find(address start, size_t size) {
    block *at = blocks;
    while (at && !(start >= at->start && start + size <= at->start + at->size))
        at = at->next;
    return at;
}

static address take(size_t size, int device) {
    address start = (address)aligned_alloc(512, (size + 511) / 512 * 512);
    block *made = malloc(sizeof *made);
    *made = (block){start, size, device, blocks};
    blocks = made;
    fake_used[device] += (long)size;
    return start;
}

static int give_back(const char *call, address start, int host) {
    block **at = &blocks;
    while (*at && (*at)->start != start)
        at = &(*at)->next;
    block *found = *at;
    if (!found || (found->device == HOST) != host)
        return fault(call, "of what is not allocated");
    *at = found->next;
    fake_used[found->device] -= (long)found->size;
    free((void *)found->start);
    free(found);
    return OK;
}

/* Copy between two devices; HOST is all memory of the host's, pinned or not. */
static int copy(
    const char *what, address to, long there, address from, long here, size_t size,
    handle *stream
) {
    block *target = find(to, size), *source = find(from, size);
    if ((there != HOST && !target) || (here != HOST && !source))
        return fault(what, "with an address in no allocation");
    if ((target && target->device != there) || (source && source->device != here))
        return fault(what, "with memory of another device");
    int pinned = (there == HOST && target) || (here == HOST && source);
    memmove((void *)to, (void *)from, size);
    note(stream, "%s of %zu%s bytes", what, size, pinned ? " pinned" : "");
    return OK;
}

/* The driver and its devices. The second is of another generation than the first. */
CALL(cuInit(void), return fake_devices ? OK : NO_DEVICE)
CALL(cuDriverGetVersion(int *version), *version = 12090)
CALL(cuDeviceGetCount(int *count), *count = fake_devices)
CALL(cuDeviceGet(int *device, int index), *device = index)
CALL(cuDeviceGetName(char *name, int n, int d), snprintf(name, (size_t)n, "Fake %d", d))
CALL(cuDeviceGetUuid(char *uuid, int device), memset(uuid, device, 16))

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 16   ? 100 + device /* multiprocessors */
             : attribute == 75 ? 8 + device   /* compute capability */
             : attribute == 76 ? 0            /* and the number after its dot */
                               : 1024;
    return OK;
}

static const char *word(int code, int which) {
    static const char *const words[][2] = {
        {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
        {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
        {"CUDA_ERROR_UNKNOWN", "unknown error"},
    };
    return words[code == OUT_OF_MEMORY ? 0 : code == ILLEGAL_ADDRESS ? 1 : 2][which];
}

CALL(cuGetErrorName(int code, const char **name), *name = word(code, 0))
CALL(cuGetErrorString(int code, const char **sentence), *sentence = word(code, 1))

/* Contexts: each thread has a stack of them. */
int cuCtxPushCurrent(long context) {
    long device = context - FIRST_CONTEXT;
    if (device < 0 || device >= fake_devices || depth == DEPTH)
        return fault(__func__, "with a context that is none");
    stack[depth++] = context;
    return OK;
}

int cuCtxSetCurrent(long context) {
    depth -= depth > 0;
    return context ? cuCtxPushCurrent(context) : OK;
}

CALL(cuCtxPopCurrent(long *context), ENTER; *context = stack[--depth])
CALL(cuCtxGetCurrent(long *context), *context = depth ? stack[depth - 1] : 0)
CALL(cuCtxGetDevice(int *device), ENTER; *device = current())
CALL(cuCtxSynchronize(void), ENTER; note(NULL, "wait for the device"))
CALL(cuDevicePrimaryCtxRetain(long *context, int d), *context = FIRST_CONTEXT + d)
CALL(cuDevicePrimaryCtxRelease(void), )

/* Memory. */
int cuMemGetInfo(size_t *unused, size_t *total) {
    ENTER;
    *total = (size_t)fake_bytes;
    *unused = (size_t)(fake_bytes - fake_used[current()]);
    return OK;
}

int cuMemAlloc(address *start, size_t size) {
    ENTER;
    TRY(size > (size_t)(fake_bytes - fake_used[current()]) ? OUT_OF_MEMORY : OK);
    *start = take(size, current());
    return OK;
}

int cuMemHostAlloc(address *start, size_t size, unsigned flags) {
    ENTER;
    *start = take(size, HOST);
    return flags == 1 ? OK : fault(__func__, "of memory not pinned for all devices");
}

CALL(cuMemFree(address start), ENTER; return give_back(__func__, start, 0))
CALL(cuMemFreeHost(address start), ENTER; return give_back(__func__, start, 1))

int cuPointerGetAttribute(int *value, int attribute, address start) {
    ENTER;
    block *found = find(start, 1);
    TRY(found ? OK : INVALID_VALUE);
    /* memory type, 1 of the host, 2 of a device; or else the device's index */
    *value = attribute == 2 ? 2 - (found->device == HOST) : found->device;
    return OK;
}

int cuMemcpyHtoDAsync(address to, address from, size_t size, handle *stream) {
    ENTER_ON(stream);
    return copy("upload", to, current(), from, HOST, size, stream);
}

int cuMemcpyDtoHAsync(address to, address from, size_t size, handle *stream) {
    ENTER_ON(stream);
    return copy("download", to, HOST, from, current(), size, stream);
}

int cuMemcpyDtoDAsync(address to, address from, size_t size, handle *stream) {
    ENTER_ON(stream);
    return copy("copy", to, current(), from, current(), size, stream);
}

int cuMemcpyPeerAsync(
    address to, long there, address from, long here, size_t size, handle *stream
) {
    ENTER_ON(stream);
    there -= FIRST_CONTEXT;
    here -= FIRST_CONTEXT;
    return copy("copy between devices", to, there, from, here, size, stream);
}

/* Streams and events. */
int cuStreamCreateWithPriority(handle **made, unsigned flags) {
    ENTER;
    *made = make(STREAM, current());
    return flags == 1 ? OK : fault(__func__, "of one that waits for the default one");
}

CALL(cuStreamQuery(handle *stream), ENTER_ON(stream))
CALL(cuStreamSynchronize(handle *s), ENTER_ON(s); note(s, "wait for the stream"))

int cuStreamWaitEvent(handle *stream, handle *event) {
    ENTER_ON(stream);
    CHECK_EVENT(event);
    note(stream, "wait for event %d", event->number);
    return OK;
}

int cuEventCreate(handle **made, unsigned flags) {
    ENTER;
    *made = make(EVENT, current());
    (*made)->timed = !(flags & 2);
    fake_events++;
    return OK;
}

int cuEventDestroy(handle *event) {
    int locked __attribute__((cleanup(leave))) = pthread_mutex_lock(&one_at_a_time);
    CHECK_EVENT(event);
    event->dead = 1;
    fake_events--;
    return locked;
}

int cuEventRecord(handle *event, handle *stream) {
    ENTER_ON(stream);
    TRY(check(__func__, event, EVENT, current()));
    note(stream, "event %d", event->number);
    event->recorded = now;
    return OK;
}

CALL(cuEventQuery(handle *event), ENTER; CHECK_EVENT(event))
CALL(cuEventSynchronize(handle *event), ENTER; CHECK_EVENT(event))

/* Milliseconds count what devices were told to do in between. */
int cuEventElapsedTime(float *milliseconds, handle *start, handle *end) {
    ENTER;
    CHECK_EVENT(start);
    TRY(check(__func__, end, EVENT, start->device));
    if (!(start->timed && end->timed && start->recorded && end->recorded))
        return fault(__func__, "of events without a time");
    *milliseconds = (float)(end->recorded - start->recorded);
    return OK;
}

/* Kernels. A library is one kernel, as numba-cuda makes them, and stands for it. What
is read from the machine code is how many bytes each of its parameters has. */
int cuLibraryLoadData(handle **made, const unsigned char *image) {
    ENTER;
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
    const Elf64_Shdr *section = (const Elf64_Shdr *)(image + header->e_shoff);
    const char *names = (const char *)image + section[header->e_shstrndx].sh_offset;
    while (strncmp(names + section->sh_name, ".nv.info.", 9)) /* then comes its name */
        section++;
    const uint16_t *at = (const uint16_t *)(image + section->sh_offset);
    const uint16_t *end = at + section->sh_size / 2;
    *made = make(KERNEL, HOST);
    /* attributes: kind and name, then a value, or the size of what follows */
    for (; at < end; at += 2 + ((at[0] & 0xff) == 4 ? at[1] / 2 : 0))
        if (at[0] == 0x1704) { /* EIATTR_KPARAM_INFO: ordinal in [4], size in [7] */
            (*made)->sizes[at[4] % MOST_PARAMETERS] = at[7] >> 2;
            (*made)->parameters++;
        }
    return OK;
}

CALL(cuLibraryGetKernel(handle **kernel, handle *library), *kernel = library)
CALL(cuLibraryUnload(handle *library), TRY(check(__func__, library, KERNEL, HOST)))
CALL(cuKernelGetAttribute(int *value), *value = 0)

int cuLaunchKernelEx(const launch *how, handle *kernel, void **values) {
    ENTER_ON(how->stream);
    TRY(check(__func__, kernel, KERNEL, HOST));
    char given[MOST_PARAMETERS * 24] = "", *at = given;
    for (int k = 0; k < kernel->parameters; k++) {
        uint64_t value = 0;
        memcpy(&value, values[k], (size_t)kernel->sizes[k]);
        at += sprintf(at, " %d:%lx", kernel->sizes[k], (long)value);
    }
    note(how->stream, "launch of %u x %u with%s", how->grid[0], how->block[0], given);
    return OK;
}

/* cuda-bindings asks here for all functions; their versions differ in nothing used. */
int cuGetProcAddress_v2(const char *name, void **function) {
    *function = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
    return *function ? OK : INVALID_VALUE;
}
