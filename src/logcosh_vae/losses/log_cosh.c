/* The log-cosh loss, its sum and its grad in one pass over memory each, for float32 (cpu_kernel.py calls it).
 *
 * Their loops have no branch, so that the compiler turns them into vector instructions: near and far formula are
 * computed, and one is chosen. Coefficients: tools/log_cosh_coefficients.py. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
/* one copy a generation of processors; the one that fits is chosen when the library is loaded */
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#define BRANCH 1.25f
#define CENTRE 0.78125f
#define LOG_2 0.69314718f
#define ROUND 12582912.0f /* 1.5 * 2^23: added and taken away, it leaves the nearest whole number */

/* exp(y) = 2^halvings (1 + r P(r)), |r| <= log(2) / 2; the parts for y in [-40, 0] */
typedef struct {
    float scale;    /* 2^halvings */
    float fraction; /* r P(r) */
} Exponential;

static inline Exponential exponential(float y) {
    float halvings = (y * 1.44269504f + ROUND) - ROUND;
    float r = y - halvings * 0.693145751953125f; /* log(2) in two parts, the first with few digits */
    r = r - halvings * 1.42860676e-6f;
    float p = 0.0013933641031986701f;
    p = p * r + 0.008369148490856347f;
    p = p * r + 0.04166646500604005f;
    p = p * r + 0.16666505260408124f;
    p = p * r + 0.5000000013457727f;
    p = p * r + 1.00000001077157f;
    int32_t bits = ((int32_t)halvings + 127) << 23;
    Exponential result;
    memcpy(&result.scale, &bits, sizeof bits);
    result.fraction = p * r;
    return result;
}

/* Beyond it exp(-2 x) is nothing beside log(2). Volatile, and read once a call: where GCC knows the number, it computes
 * with unclamped x and selects afterwards, and the subnormal numbers on the way take many times as long. */
static volatile const float FAR_OUT = 20.0f;

/* log(cosh(a t)) / a, with both factors of the near formula as late as possible: no product underflows early */
static inline float value_of(float t, float a, float inverse, float far_out) {
    float x = a * t;
    float magnitude = __builtin_fabsf(x);
    float clamped = magnitude > far_out ? far_out : magnitude;
    float s = clamped * clamped - CENTRE;
    float near = -1.4105149666882582e-05f;
    near = near * s + 5.202684822290441e-05f;
    near = near * s - 0.00017834322537978585f;
    near = near * s + 0.0006906934737566492f;
    near = near * s - 0.0027865185848748434f;
    near = near * s + 0.011928506251172886f;
    near = near * s - 0.05782944762011692f;
    near = near * s + 0.44588789744256513f;
    Exponential parts = exponential(-2.0f * clamped);
    float e = parts.scale * parts.fraction + parts.scale;
    float log1p = 0.169361138101737f; /* log(1 + e) / e where e <= exp(-2 BRANCH) */
    log1p = log1p * e - 0.24787736259457052f;
    log1p = log1p * e + 0.33327210661649936f;
    log1p = log1p * e - 0.4999993763678229f;
    log1p = log1p * e + 0.9999999989776166f;
    float far = __builtin_fabsf(t) - (LOG_2 - log1p * e) * inverse;
    return magnitude <= BRANCH ? near * x * t : far;
}

/* tanh(a t) = -expm1(-2 |a t|) / (2 + expm1(-2 |a t|)), signed */
static inline float grad_of(float t, float a) {
    float x = a * t;
    float magnitude = __builtin_fabsf(x);
    float clamped = magnitude > 10.0f ? 10.0f : magnitude;
    Exponential parts = exponential(-2.0f * clamped);
    float expm1 = parts.scale * parts.fraction + (parts.scale - 1.0f);
    return __builtin_copysignf(expm1 / (expm1 + 2.0f), x);
}

/* Elements from start on and before end. */

FOR_EACH_PROCESSOR
void log_cosh_value(const float *restrict prediction, const float *restrict target, float *restrict value, float a,
                    float inverse, ptrdiff_t start, ptrdiff_t end) {
    float far_out = FAR_OUT;
    for (ptrdiff_t i = start; i < end; i++)
        value[i] = value_of(prediction[i] - target[i], a, inverse, far_out);
}

#define BLOCK 1024 /* elements whose values are summed in float, by halves; blocks are summed in double */

FOR_EACH_PROCESSOR
double log_cosh_sum(const float *restrict prediction, const float *restrict target, float a, float inverse,
                    ptrdiff_t start, ptrdiff_t end) {
    float far_out = FAR_OUT;
    double sum = 0.0;
    for (; start < end; start += BLOCK) {
        float values[BLOCK];
        ptrdiff_t count = end - start < BLOCK ? end - start : BLOCK;
        for (ptrdiff_t i = 0; i < count; i++)
            values[i] = value_of(prediction[start + i] - target[start + i], a, inverse, far_out);
        for (ptrdiff_t i = count; i < BLOCK; i++)
            values[i] = 0.0f;
        for (ptrdiff_t half = BLOCK / 2; half > 0; half /= 2)
            for (ptrdiff_t i = 0; i < half; i++)
                values[i] += values[half + i];
        sum += values[0];
    }
    return sum;
}

/* the grad times a factor for each element, or times the first for all */
FOR_EACH_PROCESSOR
void log_cosh_grad(const float *restrict prediction, const float *restrict target, const float *restrict factors,
                    float *restrict grad, float a, ptrdiff_t each, ptrdiff_t start, ptrdiff_t end) {
    if (each) {
        for (ptrdiff_t i = start; i < end; i++)
            grad[i] = factors[i] * grad_of(prediction[i] - target[i], a);
    } else {
        float factor = factors[0];
        for (ptrdiff_t i = start; i < end; i++)
            grad[i] = factor * grad_of(prediction[i] - target[i], a);
    }
}
