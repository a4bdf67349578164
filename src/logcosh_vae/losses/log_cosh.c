/* Kernels for the log-cosh loss in float32: elementwise value, sum and gradient, each in one pass over memory.
 * cpu_kernel.py calls them.
 *
 * With t = prediction - target and x = a t, the loss log(cosh(x)) / a is computed as
 *   x t P(x^2 - CENTRE)                         for |x| <= BRANCH ("near"),
 *   |t| - (log(2) - log1p(exp(-2 |x|))) / a     otherwise ("far").
 * The loops have no branches so that the compiler vectorizes them: both formulas are evaluated and one is selected.
 * The coefficients come from tools/log_cosh_coefficients.py. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
/* compile one version per instruction set; the loader selects the best one for the processor */
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif

#define BRANCH 1.25f
#define CENTRE 0.78125f
#define LOG_2 0.69314718f
#define ROUND 12582912.0f /* 1.5 * 2^23: adding and subtracting it rounds to the nearest integer */

/* exp(y) = scale * (1 + fraction) for y in [-40, 0]: scale = 2^k, and fraction = expm1(r) with |r| <= log(2) / 2 */
typedef struct {
    float scale;
    float fraction;
} Exponential;

static inline Exponential exponential(float y) {
    float k = (y * 1.44269504f + ROUND) - ROUND;
    float r = y - k * 0.693145751953125f; /* log(2) as the sum of a short constant, so that k times it is exact, */
    r = r - k * 1.42860676e-6f;           /* and a remainder */
    float p = 0.0013933641031986701f;
    p = p * r + 0.008369148490856347f;
    p = p * r + 0.04166646500604005f;
    p = p * r + 0.16666505260408124f;
    p = p * r + 0.5000000013457727f;
    p = p * r + 1.00000001077157f;
    int32_t bits = ((int32_t)k + 127) << 23;
    Exponential result;
    memcpy(&result.scale, &bits, sizeof bits);
    result.fraction = p * r;
    return result;
}

/* |x| is clamped to this value: beyond it, exp(-2 |x|) is negligible next to log(2). The variable is volatile and read
 * once per call because GCC, if it knows the constant, computes with the unclamped x and selects afterwards; the
 * subnormal intermediate results make that many times slower. */
static volatile const float MAX_MAGNITUDE = 20.0f;

/* log(cosh(a t)) / a. The near formula multiplies by x and t last, so that intermediate products do not underflow. */
static inline float value_of(float t, float a, float inverse_a, float max_magnitude) {
    float x = a * t;
    float magnitude = __builtin_fabsf(x);
    float clamped = magnitude > max_magnitude ? max_magnitude : magnitude;
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
    float log1p = 0.169361138101737f; /* log1p(e) / e for e <= exp(-2 BRANCH) */
    log1p = log1p * e - 0.24787736259457052f;
    log1p = log1p * e + 0.33327210661649936f;
    log1p = log1p * e - 0.4999993763678229f;
    log1p = log1p * e + 0.9999999989776166f;
    float far = __builtin_fabsf(t) - (LOG_2 - log1p * e) * inverse_a;
    return magnitude <= BRANCH ? near * x * t : far;
}

/* tanh(a t), from |tanh(x)| = -expm1(-2 |x|) / (2 + expm1(-2 |x|)) */
static inline float grad_of(float t, float a) {
    float x = a * t;
    float magnitude = __builtin_fabsf(x);
    float clamped = magnitude > 10.0f ? 10.0f : magnitude;
    Exponential parts = exponential(-2.0f * clamped);
    float expm1 = parts.scale * parts.fraction + (parts.scale - 1.0f);
    return __builtin_copysignf(expm1 / (expm1 + 2.0f), x);
}

/* The functions below process the elements start <= i < end; inverse_a is 1 / a. */

/* value[i] = log(cosh(a t)) / a */
MULTIVERSION
void log_cosh_value(const float *restrict prediction, const float *restrict target, float *restrict value, float a,
                    float inverse_a, ptrdiff_t start, ptrdiff_t end) {
    float max_magnitude = MAX_MAGNITUDE;
    for (ptrdiff_t i = start; i < end; i++)
        value[i] = value_of(prediction[i] - target[i], a, inverse_a, max_magnitude);
}

#define BLOCK 1024 /* a power of 2: pairwise summation in float within a block; the block sums are added in double */

/* Return the sum of the loss over the elements. */
MULTIVERSION
double log_cosh_sum(const float *restrict prediction, const float *restrict target, float a, float inverse_a,
                    ptrdiff_t start, ptrdiff_t end) {
    float max_magnitude = MAX_MAGNITUDE;
    double sum = 0.0;
    for (; start < end; start += BLOCK) {
        float values[BLOCK];
        ptrdiff_t count = end - start < BLOCK ? end - start : BLOCK;
        for (ptrdiff_t i = 0; i < count; i++)
            values[i] = value_of(prediction[start + i] - target[start + i], a, inverse_a, max_magnitude);
        for (ptrdiff_t i = count; i < BLOCK; i++)
            values[i] = 0.0f;
        for (ptrdiff_t half = BLOCK / 2; half > 0; half /= 2)
            for (ptrdiff_t i = 0; i < half; i++)
                values[i] += values[half + i];
        sum += values[0];
    }
    return sum;
}

/* grad[i] = output_grads[i] * tanh(a t); with elementwise = 0, output_grads[0] is used for all elements */
MULTIVERSION
void log_cosh_grad(const float *restrict prediction, const float *restrict target, const float *restrict output_grads,
                   float *restrict grad, float a, ptrdiff_t elementwise, ptrdiff_t start, ptrdiff_t end) {
    if (elementwise) {
        for (ptrdiff_t i = start; i < end; i++)
            grad[i] = output_grads[i] * grad_of(prediction[i] - target[i], a);
    } else {
        float output_grad = output_grads[0];
        for (ptrdiff_t i = start; i < end; i++)
            grad[i] = output_grad * grad_of(prediction[i] - target[i], a);
    }
}
