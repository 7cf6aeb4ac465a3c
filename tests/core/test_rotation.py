import torch

from maquette.core import matrix_to_quat, normalize, quat_multiply, quat_to_matrix


def random_quats(count: int) -> torch.Tensor:
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_quarter_turn_about_y_carries_z_to_x():
    half = torch.tensor(torch.pi / 4)
    quarter_turn = torch.stack([half.cos(), half * 0, half.sin(), half * 0])  # wxyz
    turned = quat_to_matrix(quarter_turn) @ torch.tensor([0.0, 0, 1])
    assert torch.allclose(turned, torch.tensor([1.0, 0, 0]), atol=1e-6)


def test_matrices_are_rotations_whatever_the_length_of_the_quaternion():
    matrices = quat_to_matrix(random_quats(50) * 7)
    assert torch.allclose(matrices @ matrices.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(50, dtype=torch.float64))


def test_product_of_quaternions_is_product_of_matrices():
    left, right = random_quats(40).split(20)
    product = quat_to_matrix(quat_multiply(normalize(left), normalize(right)))
    assert torch.allclose(product, quat_to_matrix(left) @ quat_to_matrix(right))


def test_matrix_to_quat_inverts_quat_to_matrix_also_for_half_turns():
    half_turns = torch.eye(4, dtype=torch.float64)  # identity and the three half turns, where w is 0
    near_half_turns = half_turns + 1e-9
    for quats in (random_quats(200), half_turns, near_half_turns):
        quats = normalize(quats)
        back = matrix_to_quat(quat_to_matrix(quats))
        assert torch.allclose((back * quats).sum(-1).abs(), torch.ones(len(quats), dtype=torch.float64), atol=1e-12)
        assert (back[:, 0] >= 0).all()


def test_zero_quaternion_is_the_identity_and_its_gradient_is_finite():
    quats = torch.zeros(1, 4, requires_grad=True)
    matrix = quat_to_matrix(quats)
    assert torch.equal(matrix[0], torch.eye(3))
    matrix.sum().backward()
    assert torch.isfinite(quats.grad).all()


def test_gradients_agree_with_finite_differences():
    quats = random_quats(5).requires_grad_()
    assert torch.autograd.gradcheck(quat_to_matrix, quats)
    assert torch.autograd.gradcheck(lambda q: matrix_to_quat(quat_to_matrix(q)), quats)
