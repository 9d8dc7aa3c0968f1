// What this machine's arithmetic gives at most: dot products on registers alone, all threads together.
//
//   cc -O2 -march=native -pthread scripts/ceilings.c -o target/ceilings && target/ceilings [THREADS]
//
// Prints 10^12 multiplications and additions a second in f32 and int8, and in bf16 where the CPU has it.
// int8 without dot-product instructions is vpmaddwd on halves of the bytes: vpmaddubsw saturates.

#include <immintrin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SUMS = 10, STEPS = 200000000 };

static double seconds(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

// Each sum in a register of its own: an array of them would lie in memory.
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9)
#define KEEP(I) __asm__ volatile("" : "+x"(sum##I));
#define LOOP(TYPE, ZERO, STEP)                                                                                       \
    TYPE sum0 = ZERO, sum1 = ZERO, sum2 = ZERO, sum3 = ZERO, sum4 = ZERO, sum5 = ZERO, sum6 = ZERO, sum7 = ZERO,     \
         sum8 = ZERO, sum9 = ZERO;                                                                                   \
    for (long n = 0; n < STEPS / SUMS; n++) {                                                                        \
        EACH(STEP)                                                                                                   \
        EACH(KEEP)                                                                                                   \
    }

#ifdef __AVX512F__
typedef __m512 Floats;
typedef __m512i Integers;
#define SET_PS _mm512_set1_ps
#define SET_8 _mm512_set1_epi8
#define FMA _mm512_fmadd_ps
#else
typedef __m256 Floats;
typedef __m256i Integers;
#define SET_PS _mm256_set1_ps
#define SET_8 _mm256_set1_epi8
#define FMA _mm256_fmadd_ps
#endif

#define F32(I) sum##I = FMA(x, y, sum##I);
static void *f32(void *a) {
    Floats x = SET_PS(1.5f), y = SET_PS(0.5f);
    LOOP(Floats, SET_PS(0), F32)
    return a;
}

#if defined(__AVX512VNNI__)
#define INT8(I) sum##I = _mm512_dpbusd_epi32(sum##I, x, y);
#elif defined(__AVXVNNI__)
#define INT8(I) sum##I = _mm256_dpbusd_avx_epi32(sum##I, x, y);
#else
// Else the compiler would multiply once for all.
#define INT8(I)                          \
    __asm__ volatile("" : "+x"(x));      \
    sum##I = _mm256_add_epi32(sum##I, _mm256_madd_epi16(x, y));
#endif
static void *int8(void *a) {
    Integers x = SET_8(3), y = SET_8(2);
    LOOP(Integers, SET_8(0), INT8)
    return a;
}

#ifdef __AVX512BF16__
#define BF16(I) sum##I = _mm512_dpbf16_ps(sum##I, x, y);
static void *bf16(void *a) {
    __m512bh x = (__m512bh)SET_8(3), y = (__m512bh)SET_8(2);
    LOOP(Floats, SET_PS(0), BF16)
    return a;
}
#endif

static void report(const char *name, void *(*work)(void *), double products, int threads) {
    double best = 0;
    for (int run = 0; run < 5; run++) {
        pthread_t of[64];
        double start = seconds();
        for (int i = 0; i < threads; i++) pthread_create(&of[i], 0, work, 0);
        for (int i = 0; i < threads; i++) pthread_join(of[i], 0);
        double rate = 2 * products * (STEPS / SUMS) * SUMS * threads / (seconds() - start) * 1e-12;
        if (rate > best) best = rate;
    }
    printf("%s %.3f\n", name, best);
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 2;
    if (threads < 1 || threads > 64) return 2;
    report("f32", f32, sizeof(Floats) / 4.0, threads);
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    report("int8", int8, sizeof(Integers), threads);
#else
    report("int8", int8, sizeof(Integers) / 2.0, threads);
#endif
#ifdef __AVX512BF16__
    report("bf16", bf16, 32, threads);
#endif
}
