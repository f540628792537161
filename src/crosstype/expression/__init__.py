"""Gene expression: read in any layout, checked and preprocessed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "annotation": ["are_of_mouse", "listed", "unrecognised"],
        "cache": ["ExpressionCache", "expression_files"],
        "genes.panels": ["pam50_among", "panel_among"],
        "genes.selection": ["exclude_genes"],
        "genes.sets": ["GeneSets", "MatchedSets", "read_gene_sets", "read_token_sets"],
        "genes.ssgsea": ["spectrum_of"],
        "harmonize": ["GeneInput", "NewExpression", "gene_input_of", "read_new_expression"],
        "matrix": ["AlignedExpression", "load_expression", "save_expression"],
        "pipeline_state": ["align_genes", "outlier_cost", "pipeline_from_state"],
        "read": ["Expression", "read_expression"],
        "sample_selection": ["select_samples"],
        "spec": ["ExpressionSpec"],
        "transformers": ["OutlierRemover", "ShiftLog", "make_preprocessing", "quantiles"],
        "units": ["LinearScale", "linear_scale_of", "median_ratios"],
    },
)
