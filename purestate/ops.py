"""Operations of layers, which `ps.intercept_ops` sees."""

from purestate._ops.attention import dot_product_attention
from purestate._ops.attention_kernels import PallasAttention, attention_implementation
from purestate._ops.convolutions import conv_general_dilated, conv_transpose
from purestate._ops.interception import OpContext, OpInterceptor, intercept_ops
from purestate._ops.normalization import moments, normalize
from purestate._ops.products import dot_general, embedding_lookup

__all__ = [
    "OpContext",
    "OpInterceptor",
    "PallasAttention",
    "attention_implementation",
    "conv_general_dilated",
    "conv_transpose",
    "dot_general",
    "dot_product_attention",
    "embedding_lookup",
    "intercept_ops",
    "moments",
    "normalize",
]
